import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/*
 * TypeScript to JavaScript, file by file. The compiler takes longer to load than most test files to run, so what it made
 * of a file is kept until the file changes.
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

/**
 * Gives the code for the hook, which names what it imports as the source does. Beside it stands the code that runs
 * without any hook: it imports the other files that were made, and knows the place of its source.
 */
async function transpiled (file) {
  const source = await readFile(file, 'utf8')
  const key = createHash('sha256').update(JSON.stringify([source, ...settings])).digest('hex')
  const name = relative(ROOT, file).slice(0, -'ts'.length)
  const place = join(KEPT, `${name}json`)
  const kept = await readFile(place, 'utf8').then(JSON.parse, () => ({}))
  if (kept.key === key) return kept.module

  const module = await transpile(file, source, false)
  await write(join(KEPT, `${name}js`), await transpile(file, source, true))
  await write(place, JSON.stringify({ key, module }))
  return module
}

export async function transpileAll () {
  for (const folder of ['lib', 'test', 'examples']) {
    const files = await readdir(join(ROOT, folder), { recursive: true })
    await Promise.all(files.filter((file) => file.endsWith('.ts')).map((file) => transpiled(join(ROOT, folder, file))))
  }
}

/**
 * Where a hookless file says `import.meta.url`, the place of its source stands: its folder holds what it looks for. Where
 * it imports tap, it gets what `root.js` gives.
 */
function placed (ts, fileName) {
  const values = { url: pathToFileURL(fileName).href, filename: fileName, dirname: dirname(fileName) }
  const root = new URL('root.js', import.meta.url).href
  return ({ factory }) => (file) => {
    const visit = (node) => {
      if (ts.isImportDeclaration(node) && node.moduleSpecifier.text === 'tap') {
        return factory.updateImportDeclaration(node, node.modifiers, node.importClause, factory.createStringLiteral(root), node.attributes)
      }
      const isMeta = ts.isPropertyAccessExpression(node) && ts.isMetaProperty(node.expression)
      const value = isMeta && values[node.name.text]
      return value ? factory.createStringLiteral(value) : ts.visitEachChild(node, visit, undefined)
    }
    return ts.visitEachChild(file, visit, undefined)
  }
}

async function transpile (fileName, source, hookless) {
  const { default: ts } = await import('typescript')
  const { compilerOptions } = ts.parseConfigFileTextToJson('tsconfig.json', config).config
  const { options } = ts.convertCompilerOptionsFromJson({
    ...compilerOptions,
    module: 'esnext',
    moduleResolution: 'bundler',
    rewriteRelativeImportExtensions: hookless,
    inlineSourceMap: true,
    sourceRoot: pathToFileURL(ROOT).href,
    inlineSources: true
  }, ROOT)
  const transformers = hookless ? { before: [placed(ts, fileName)] } : {}
  return ts.transpileModule(source, { fileName, compilerOptions: options, transformers }).outputText
}

/** At once, because another process may be reading it. */
async function write (place, text) {
  const written = `${place}.${randomUUID()}`
  await mkdir(dirname(place), { recursive: true })
  await writeFile(written, text)
  await rename(written, place)
}
