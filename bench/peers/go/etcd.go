package main

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// etcd is concurrency.Mutex: who owns one is a session, which keeps its lease alive.
type etcd struct {
	client *clientv3.Client
	ttl    int

	mutex    sync.Mutex
	sessions []*concurrency.Session
}

func openEtcd(address string, ttl time.Duration) (*etcd, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(address, ","), DialTimeout: 5 * time.Second})
	return &etcd{client: client, ttl: int(math.Ceil(ttl.Seconds()))}, err
}

func (e *etcd) owner() (owner, error) {
	session, err := concurrency.NewSession(e.client, concurrency.WithTTL(e.ttl))
	if err != nil {
		return nil, err
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.sessions = append(e.sessions, session)
	return func(key string) (release, error) {
		mutex := concurrency.NewMutex(session, key)
		release := func() error { return mutex.Unlock(context.Background()) }
		return release, mutex.Lock(context.Background())
	}, nil
}

func (e *etcd) close() {
	together(len(e.sessions), func(at int) error { return e.sessions[at].Close() })
	e.client.Close()
}
