/** The package as a user has it: built, packed, and installed into an empty folder. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { BIN, ROOT } from "../runner/packages.ts";
import { run } from "../servers/process.ts";
import { type RuntimeName, thisRuntime } from "../servers/script.ts";
import { buildPackage } from "./build.ts";

/** Milliseconds that an installer may take, a registry on the way. */
const PATIENCE = 120_000;

/** Who installs for each runtime. */
const INSTALL: Readonly<Record<RuntimeName, readonly string[]>> = {
  deno: ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"],
  bun: [`${BIN}/bun`, "add"],
  node: ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"],
};

/** How each runtime runs a file. */
const RUN: Readonly<Record<RuntimeName, readonly string[]>> = {
  deno: ["deno", "run", "-A", "--quiet"],
  bun: [`${BIN}/bun`],
  node: [`${BIN}/node`, "--disable-warning=ExperimentalWarning"],
};

/** What `npm pack --json` says of the packed file. */
export interface Packed {
  readonly filename: string;
  /** Bytes, packed. */
  readonly size: number;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

/** A user's project with the package in it, for the runtime of this test. */
export class Installed implements Disposable {
  /** The project's folder. */
  readonly folder: string;
  /** The package's folder in it. */
  readonly installed: string;
  /** What was packed. */
  readonly packed: Packed;
  readonly #all: string;

  private constructor(all: string, packed: Packed) {
    this.#all = all;
    this.folder = join(all, "app");
    this.installed = join(this.folder, "node_modules/@holdfast/lock");
    this.packed = packed;
  }

  /** Builds, packs and installs. */
  static async make(): Promise<Installed> {
    const all = mkdtempSync(join(tmpdir(), "holdfast-package-"));
    try {
      const built = join(all, "npm");
      await buildPackage(built);
      const said = await run("npm", ["pack", "--json", "--loglevel=error", `--pack-destination=${all}`], {
        cwd: built,
        timeout: PATIENCE,
      });
      const [packed]: Packed[] = JSON.parse(said);
      const project = new Installed(all, packed!);
      project.write("package.json", JSON.stringify({ private: true, type: "module" }));
      const [installer, ...args] = INSTALL[thisRuntime];
      await run(installer!, [...args, join(all, packed!.filename)], {
        cwd: project.folder,
        timeout: PATIENCE,
      });
      return project;
    } catch (error) {
      rmSync(all, { recursive: true, force: true });
      throw error;
    }
  }

  /** What importing a file of the package loads at once: files of it, and other packages. */
  loaded(file: string): { readonly files: Set<string>; readonly packages: Set<string> } {
    const [files, packages] = [new Set<string>(), new Set<string>()];
    const load = (path: string): void => {
      if (files.has(path)) return;
      files.add(path);
      const text = readFileSync(join(this.installed, path), "utf8");
      for (const [, specifier] of text.matchAll(/^(?:import|export)\b[^;]*?\bfrom "([^"]+)";$/gm)) {
        if (specifier!.startsWith(".")) load(join(dirname(path), specifier!));
        else packages.add(specifier!);
      }
    };
    load(file);
    return { files, packages };
  }

  /** Puts a package into the project that is among the packages of this one. */
  link(name: string): void {
    const path = join(this.folder, "node_modules", name);
    if (existsSync(path)) return;
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(join(ROOT, "node_modules", name), path);
  }

  /** Writes a file of the project. */
  write(file: string, text: string): void {
    mkdirSync(this.folder, { recursive: true });
    writeFileSync(join(this.folder, file), text);
  }

  /** Runs a text as a module of the project; resolves with what it prints. */
  async run(text: string): Promise<string> {
    this.write("main.ts", text);
    return await this.runFile("main.ts");
  }

  /** Runs a file of the project; resolves with what it prints. */
  async runFile(file: string): Promise<string> {
    const [binary, ...args] = RUN[thisRuntime];
    return await this.#run(binary!, [...args, file]);
  }

  /** Runs the package's program; resolves with what it prints. */
  async program(args: readonly string[]): Promise<string> {
    return await this.#run(join(this.folder, "node_modules/.bin/holdfast"), args);
  }

  /** With a lock file of its own. */
  async #run(binary: string, args: readonly string[]): Promise<string> {
    const env = { HOLDFAST_DB: join(this.#all, "locks.db"), NO_COLOR: "1" };
    return await run(binary, args, { cwd: this.folder, env, timeout: PATIENCE });
  }

  /** Runs one of the programs that the project's own packages are worked with. */
  async tool(name: string, args: readonly string[]): Promise<string> {
    return await run(join(ROOT, "node_modules/.bin", name), args, { cwd: this.folder, timeout: PATIENCE });
  }

  /** Removes all of it. */
  [Symbol.dispose](): void {
    rmSync(this.#all, { recursive: true, force: true });
  }
}
