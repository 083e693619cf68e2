import { build } from 'esbuild'
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/*
 * The tests, and the programs that they start, as JavaScript, with what they import. A process finds and compiles its
 * few files in a third of the time that all the modules of Fastify, ioredis and the plugin take. It is made anew each
 * time: what comes from node_modules may have changed, and it takes two seconds.
 */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const BUNDLED = join('.tap', 'bundled')
const PLACE = join(ROOT, BUNDLED)
const CHUNKS = 'chunks'
/** Milliseconds. */
const HOUR = 3_600_000

/** Programs that most runs start. */
export const PROGRAMS = [
  'examples/server', 'test/support/contender', 'test/support/faked/node-test', 'test/support/in-memory', 'test/support/server'
]

/** What most tests load. The rest stays where it is: some of it looks for files beside its own. */
const DEPENDENCIES = new Set([
  '@fastify/cookie', '@fastify/error', '@fastify/jwt', '@fastify/redis', '@lukeed/ms', '@sinclair/typebox',
  'fast-check', 'fastify', 'fastify-plugin', 'ioredis', 'ioredis5', 'iovalkey', 'jose'
])

/** Of a file that asks where it is: the place of its source, whose folder holds what it looks for. */
const META = { 'import.meta.url': 'SOURCE_URL', 'import.meta.filename': 'SOURCE_FILE', 'import.meta.dirname': 'SOURCE_DIR' }

const sources = {
  name: 'sources',
  setup ({ onLoad, onResolve }) {
    onResolve({ filter: /^[^./]/ }, ({ kind, path, importer }) => {
      if (kind === 'entry-point' || isOfPackage(importer)) return
      if (path === 'tap') return { path: new URL('root.js', import.meta.url).href, external: true }
      const [name] = /^(?:@[^/]+\/)?[^/]+/.exec(path)
      if (!DEPENDENCIES.has(name)) return { path, external: true }
    })
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      if (isOfPackage(path)) return
      const code = await readFile(path, 'utf8')
      const places = [pathToFileURL(path).href, path, dirname(path)]
      // On the first line, so that the others keep their numbers.
      const head = code.includes('import.meta.') ? `const [${Object.values(META).join(', ')}] = ${JSON.stringify(places)}; ` : ''
      return { loader: 'ts', contents: head + code }
    })
  }
}

const isOfPackage = (file) => file.includes('/node_modules/')

/** These test files and every other one, and the programs, with what they share in files of its own. */
export async function bundleAll (files) {
  const found = await readdir(join(ROOT, 'test'), { recursive: true })
  const tests = found.filter((name) => name.endsWith('.test.ts')).map((name) => join('test', name))
  const names = [...files, ...tests].map((file) => normalize(file).slice(0, -'.ts'.length))
  const entries = [...new Set(['lib/index', 'test/support/early', ...PROGRAMS, ...names])].map(entryOf)
  await bundle(entries, { splitting: true, chunkNames: `${CHUNKS}/[hash]` })
  // Where tap looks for what is its own, and must not be in a stack.
  await bundle([{ in: 'tap', out: 'node_modules/@tapjs/all/index' }], { define: {} })
  await clear(join(PLACE, CHUNKS))
}

/** One program, in one file. */
export const bundleProgram = (name) => bundle([entryOf(name)])

const entryOf = (name) => ({ in: join(ROOT, `${name}.ts`), out: name })

async function bundle (entryPoints, options = {}) {
  const { outputFiles } = await build({
    entryPoints,
    outdir: PLACE,
    write: false,
    bundle: true,
    platform: 'node',
    format: 'esm',
    // What is CommonJS asks for Node's own modules with it.
    banner: { js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);" },
    define: META,
    plugins: [sources],
    sourcemap: 'linked',
    sourcesContent: false,
    logLevel: 'warning',
    ...options
  })
  await Promise.all(outputFiles.map(({ path, contents }) => write(path, contents)))
}

/** What was of sources that have changed. Another run may still be using it for a while. */
async function clear (folder) {
  for (const name of await readdir(folder)) {
    const made = await stat(join(folder, name)).then(({ mtimeMs }) => mtimeMs, () => Infinity)
    if (made < Date.now() - HOUR) await rm(join(folder, name), { force: true })
  }
}

/** At once, because another process may be reading it. */
async function write (place, contents) {
  const written = `${place}.${randomUUID()}`
  await mkdir(dirname(place), { recursive: true })
  await writeFile(written, contents)
  await rename(written, place)
}
