// Builds the page into ../static, or into the folder given: node build.mjs [folder]. Same sources, same bytes.
import { build } from "esbuild";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2] ?? join(here, "..", "static");
const bundled = ["preact", "@preact/signals", "@preact/signals-core"];

await rm(target, { recursive: true, force: true });
await mkdir(join(target, "assets"), { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: { page: "source/page.tsx", style: "source/style.css" },
  outdir: join(target, "assets"),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  charset: "utf8",
  legalComments: "none",
});
await cp(join(here, "source", "index.html"), join(target, "index.html"));
await cp(join(here, "source", "mark.svg"), join(target, "assets", "mark.svg"));
const licences = await Promise.all(
  bundled.map(async (name) => {
    const folder = join(here, "node_modules", name);
    const { version } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    return `${name} ${version}\n\n${await readFile(join(folder, "LICENSE"), "utf8")}`;
  }),
);
await writeFile(join(target, "assets", "licences.txt"), licences.join("\n\n----\n\n"));
