import type { FastifyInstance } from 'fastify'
import { transform } from 'esbuild'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { PATIENCE } from './app.ts'
import type { Owner } from './redis.ts'

/* The TypeScript in the documentation is compiled, and run. */

/** What somebody might have written instead: it replaces what is there, once. */
export type Edit = [from: string | RegExp, to: string]

export interface Recipe {
  /** The file of the page. Default: the blocks that name none. */
  name?: string
  edits?: Edit[]
  /** Default: what a busy machine needs. */
  storeTimeout?: number
}

const ROOT = join(import.meta.dirname, '..', '..')
const LIB = join(ROOT, 'lib', 'index.ts')
/** What test/run.js made of it: its processes have no hook for TypeScript. */
const BUNDLED = join(ROOT, '.tap', 'bundled', 'lib', 'index.js')
const MAIN = 'index.ts'
const REDIS = 'redis://127.0.0.1:6379'

/**
 * The TypeScript of a page: a file for each block whose first line is `// name.ts` or `// name.mjs`, and one of all others
 * in turn, which is what a reader has who copied them.
 */
export async function filesOf (page: string): Promise<Record<string, string>> {
  const markdown = await readFile(join(ROOT, page), 'utf8')
  const files: Record<string, string> = {}
  for (const [, code = ''] of markdown.matchAll(/^```ts\n(.*?)^```/gms)) {
    const [, given] = /^\/\/ (\S+)\.(?:ts|mjs)\n/.exec(code) ?? []
    const name = given === undefined ? MAIN : `${given}.ts`
    files[name] = `${files[name] ?? ''}${code}\n`
  }
  return files
}

/** A script of a page for browsers: the block of JavaScript whose first line is `// name.js`. */
export async function scriptOf (page: string, name: string): Promise<string> {
  const markdown = await readFile(join(ROOT, page), 'utf8')
  const blocks = [...markdown.matchAll(/^```js\n(.*?)^```/gms)].map(([, code = '']) => code)
  const script = blocks.find((code) => code.startsWith(`// ${name}\n`))
  if (script === undefined) throw new Error(`${page} no longer has ${name}`)
  return script
}

interface Placing {
  redis?: string
  edits?: Edit[]
  /** Where a snippet gives none. Default: that of the plugin. */
  storeTimeout?: number
}

/**
 * Puts files where they find what they import: packages, and the plugin as it stands here; and Redis, which snippets
 * expect on the usual port. Gives their folder.
 */
export async function place (t: Owner, files: Record<string, string>, { redis = REDIS, edits = [], storeTimeout }: Placing = {}): Promise<string> {
  const dir = await mkdtemp(join(ROOT, 'node_modules', '.snippets-'))
  t.after(() => rm(dir, { recursive: true }))
  await writeFile(join(dir, 'package.json'), '{ "type": "module" }')
  for (const [name, code] of Object.entries(files)) {
    const placed = edits.reduce(edited, code).replaceAll("'fastify-jwt-revocation'", `'${relative(dir, LIB)}'`)
    await writeFile(join(dir, name), placed.replaceAll(REDIS, redis).replaceAll(/\bregister\(revocation, \{(?! storeTimeout)/g, storeTimeout === undefined ? '$&' : `$& storeTimeout: ${storeTimeout},`))
  }
  return dir
}

function edited (code: string, [from, to]: Edit): string {
  const written = code.replace(from, to)
  if (written === code) throw new Error(`the snippet no longer has ${from}`)
  return written
}

/** The application of a recipe, or of a page elsewhere, run in this process. */
export async function recipe (t: Owner, { url }: { url: string }, page: string, { name = MAIN, edits = [], storeTimeout = PATIENCE }: Recipe = {}): Promise<FastifyInstance> {
  const { [name]: code = '' } = await filesOf(join('docs', 'recipes', page))
  const dir = await place(t, { [name]: `${code}\nexport { app }\n` }, { redis: url, edits, storeTimeout })
  const { app } = await importPlaced(join(dir, name)) as { app: FastifyInstance }
  t.after(() => app.close())
  return app
}

/** What a file that was placed exports. */
export async function importPlaced (file: string): Promise<unknown> {
  // The compiler would take most of the time of what runs an example.
  const tsconfigRaw = { compilerOptions: { verbatimModuleSyntax: true } }
  const { code } = await transform(await readFile(file, 'utf8'), { loader: 'ts', target: 'es2022', tsconfigRaw })
  const script = file.replace(/ts$/, 'js')
  const dir = dirname(file)
  await writeFile(script, process.env.TESTS_BUNDLED ? code.replaceAll(relative(dir, LIB), relative(dir, BUNDLED)) : code)
  return await import(pathToFileURL(script).href)
}

/** What the compiler says of these files, by the settings of this project. What they import is checked elsewhere. */
export async function mistakesIn (files: string[]): Promise<string[]> {
  const { default: ts } = await import('typescript')
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT)
  const program = ts.createProgram(files, { ...options, noEmit: true })
  return files.flatMap((name) => ts.getPreEmitDiagnostics(program, program.getSourceFile(name)))
    .map(({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`)
}
