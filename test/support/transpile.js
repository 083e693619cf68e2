import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

/*
 * TypeScript to JavaScript, file by file. The compiler takes longer to load than most test files to run, so what it made
 * of a file is kept until the file changes.
 */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const KEPT = join(ROOT, '.tap', 'transpiled')

const { version } = createRequire(import.meta.url)('typescript/package.json')
const config = await readFile(join(ROOT, 'tsconfig.json'), 'utf8')
const settings = [version, config, await readFile(fileURLToPath(import.meta.url), 'utf8')]

/** Programs that tests start again and again. One file loads in a third of the time that all of its imports take. */
const PROGRAMS = ['test/support/server', 'test/support/contender']

/** Node's hook. Gives each file its own code, under its own name. */
export async function load (url, context, nextLoad) {
  if (!/^file:.*\.ts(?:\?|$)/.test(url) || url.includes('/node_modules/')) return await nextLoad(url, context)
  return { format: 'module', source: await transpiled(fileURLToPath(url), false), shortCircuit: true }
}

/**
 * Gives the code of a file. For the hook it names what it imports as the source does. Hookless code imports the other
 * files that were made, and knows the place of its source.
 */
async function transpiled (file, isHookless) {
  const source = await readFile(file, 'utf8')
  const key = createHash('sha256').update(JSON.stringify([source, ...settings])).digest('hex')
  const code = join(KEPT, `${relative(ROOT, file).slice(0, -'.ts'.length)}${isHookless ? '.js' : '.hook.js'}`)
  const keys = `${code}.key`
  if (await readFile(keys, 'utf8').catch(() => '') === key) return await readFile(code, 'utf8')

  const made = await transpile(file, source, isHookless)
  await write(code, made)
  await write(keys, key)
  return made
}

/** What runs without the hook, and with `hook` what the hook gives as well. `part`: of how many, and which of them. */
export async function transpileAll ({ hook = false, part: [which, of] = [0, 1] } = {}) {
  for (const folder of ['lib', 'test', 'examples']) {
    const names = await readdir(join(ROOT, folder), { recursive: true })
    const files = names.filter((name) => name.endsWith('.ts')).sort()
      .filter((_name, i) => i % of === which).map((name) => join(ROOT, folder, name))
    await Promise.all(files.flatMap((file) => [transpiled(file, true), ...hook ? [transpiled(file, false)] : []]))
  }
}

/** Each time: what they import from node_modules may have changed. */
export async function bundlePrograms () {
  const { outputFiles } = await build({
    entryPoints: PROGRAMS.map((name) => join(KEPT, `${name}.js`)),
    outbase: KEPT,
    outdir: KEPT,
    outExtension: { '.js': '.bundle.js' },
    write: false,
    bundle: true,
    platform: 'node',
    format: 'esm',
    // What is CommonJS asks for Node's own modules with it.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    sourcemap: 'inline',
    sourcesContent: false
  })
  await Promise.all(outputFiles.map(({ path, text }) => write(path, text)))
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

async function transpile (fileName, source, isHookless) {
  const { default: ts } = await import('typescript')
  const { compilerOptions } = ts.parseConfigFileTextToJson('tsconfig.json', config).config
  const { options } = ts.convertCompilerOptionsFromJson({
    ...compilerOptions,
    module: 'esnext',
    moduleResolution: 'bundler',
    rewriteRelativeImportExtensions: isHookless,
    inlineSourceMap: true,
    sourceRoot: pathToFileURL(ROOT).href,
    inlineSources: true
  }, ROOT)
  const transformers = isHookless ? { before: [placed(ts, fileName)] } : {}
  return ts.transpileModule(source, { fileName, compilerOptions: options, transformers }).outputText
}

/** At once, because another process may be reading it. */
async function write (place, text) {
  const written = `${place}.${randomUUID()}`
  await mkdir(dirname(place), { recursive: true })
  await writeFile(written, text)
  await rename(written, place)
}
