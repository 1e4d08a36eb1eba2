/**
 * `deno task bench`: prints figures with the bounds they are held to; the exit status is 1 if one is
 * not kept. `BACKENDS=sqlite,redis` limits the run. Each subject has a file of its own.
 */
import { type Figure, holds, line } from "./figures.ts";

const SUBJECTS = [
  "import",
  "memory",
  "sqlite",
  "postgres",
  "redis",
  "redlock",
  "etcd",
  "zookeeper",
  "consul",
];

const asked = process.env.BACKENDS?.split(",") ?? SUBJECTS;
let kept = true;
for (const subject of SUBJECTS.filter((name) => asked.includes(name))) {
  const { run } = await import(new URL(`./${subject}.ts`, import.meta.url).href) as {
    run(): Promise<Figure[]>;
  };
  for (const figure of await run()) {
    console.log(line(figure));
    kept &&= holds(figure);
  }
}
process.exit(kept ? 0 : 1);
