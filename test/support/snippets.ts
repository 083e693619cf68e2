import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'

/* The TypeScript in the documentation is compiled, and run. */

interface Scope { teardown (fn: () => unknown): unknown }

export interface Snippets {
  /** Where the Redis is that the snippets expect at `redis://127.0.0.1:6379`. */
  redis?: string
  /** What somebody might have written instead. */
  edit?: (code: string) => string
}

const ROOT = join(import.meta.dirname, '..', '..')
const LIB = join(ROOT, 'lib', 'index.ts')
const MAIN = 'index.ts'

const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile)
const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT)

/**
 * The TypeScript of a page: a file for each block whose first line is `// name.ts`, and one of all others in turn, which
 * is what a reader has who copied them.
 */
export async function filesOf (page: string): Promise<Record<string, string>> {
  const markdown = await readFile(join(ROOT, page), 'utf8')
  const files: Record<string, string> = {}
  for (const [, code = ''] of markdown.matchAll(/^```ts\n(.*?)^```/gms)) {
    const name = /^\/\/ (\S+\.ts)\n/.exec(code)?.[1] ?? MAIN
    files[name] = `${files[name] ?? ''}${code}\n`
  }
  return files
}

/** Puts files where they find what they import: packages, and the plugin as it stands here. Gives their folder. */
export async function place (t: Scope, files: Record<string, string>, { redis = '', edit = (code) => code }: Snippets = {}): Promise<string> {
  const dir = await mkdtemp(join(ROOT, 'node_modules', '.snippets-'))
  t.teardown(() => rm(dir, { recursive: true }))
  await writeFile(join(dir, 'package.json'), '{ "type": "module" }')
  for (const [name, code] of Object.entries(files)) {
    const placed = edit(code)
      .replaceAll("'fastify-jwt-revocation'", `'${relative(dir, LIB)}'`)
      .replaceAll('redis://127.0.0.1:6379', redis || 'redis://127.0.0.1:6379')
    await writeFile(join(dir, name), placed)
  }
  return dir
}

/** Runs a file of a page in this process, and gives what it names. */
export async function run<T> (t: Scope, page: string, names: string[], { name = MAIN, ...snippets }: Snippets & { name?: string } = {}): Promise<T> {
  const { [name]: code = '' } = await filesOf(page)
  const dir = await place(t, { [name]: `${code}\nexport { ${names.join(', ')} }\n` }, snippets)
  const file = join(dir, name)
  const { outputText } = ts.transpileModule(await readFile(file, 'utf8'), {
    compilerOptions: { ...options, module: ts.ModuleKind.ESNext, rewriteRelativeImportExtensions: false }
  })
  const script = file.replace(/ts$/, 'js')
  await writeFile(script, outputText)
  return await import(pathToFileURL(script).href)
}

/** What the compiler has to say, by the settings of this project. */
export function mistakesIn (files: string[]): string[] {
  const program = ts.createProgram(files, { ...options, noEmit: true })
  return ts.getPreEmitDiagnostics(program).map(({ file, messageText }) =>
    `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`)
}
