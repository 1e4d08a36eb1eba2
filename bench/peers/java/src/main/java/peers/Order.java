package peers;

import com.google.gson.annotations.SerializedName;

/** What this process is told, a line of its standard input. */
record Order(int id, @SerializedName("do") String verb, String key, String prefix, int n, int many) {}
