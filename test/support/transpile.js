import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/*
 * TypeScript to JavaScript, file by file, for the run for the coverage. The compiler takes longer to load than most test
 * files to run, so what it made of a file is kept until the file changes.
 */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const KEPT = join(ROOT, '.tap', 'transpiled')

const { version } = createRequire(import.meta.url)('typescript/package.json')
const config = await readFile(join(ROOT, 'tsconfig.json'), 'utf8')
const settings = [version, config, await readFile(fileURLToPath(import.meta.url), 'utf8')]

/** Node's hook. Gives each file its own code, under its own name. */
export async function load (url, context, nextLoad) {
  if (!/^file:.*\.ts(?:\?|$)/.test(url) || url.includes('/node_modules/')) return await nextLoad(url, context)
  return { format: 'module', source: await transpiled(fileURLToPath(url)), shortCircuit: true }
}

async function transpiled (file) {
  const source = await readFile(file, 'utf8')
  const key = createHash('sha256').update(JSON.stringify([source, ...settings])).digest('hex')
  const code = join(KEPT, `${relative(ROOT, file).slice(0, -'.ts'.length)}.js`)
  const keys = `${code}.key`
  if (await readFile(keys, 'utf8').catch(() => '') === key) return await readFile(code, 'utf8')

  const made = await transpile(file, source)
  await write(code, made)
  await write(keys, key)
  return made
}

export async function transpileAll () {
  for (const folder of ['lib', 'test', 'examples']) {
    const names = await readdir(join(ROOT, folder), { recursive: true })
    await Promise.all(names.filter((name) => name.endsWith('.ts')).map((name) => transpiled(join(ROOT, folder, name))))
  }
}

async function transpile (fileName, source) {
  const { default: ts } = await import('typescript')
  const { compilerOptions } = ts.parseConfigFileTextToJson('tsconfig.json', config).config
  const { options } = ts.convertCompilerOptionsFromJson({
    ...compilerOptions,
    module: 'esnext',
    moduleResolution: 'bundler',
    rewriteRelativeImportExtensions: false,
    inlineSourceMap: true,
    sourceRoot: pathToFileURL(ROOT).href,
    inlineSources: true
  }, ROOT)
  return ts.transpileModule(source, { fileName, compilerOptions: options }).outputText
}

/** At once, because another process may be reading it. */
async function write (place, text) {
  const written = `${place}.${randomUUID()}`
  await mkdir(dirname(place), { recursive: true })
  await writeFile(written, text)
  await rename(written, place)
}
