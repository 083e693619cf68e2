import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const LIB = fileURLToPath(new URL('../lib', import.meta.url))
const MAX_LINES = 250
const MAX_COLUMNS = 110

/**
 * From the top. A file may import from its own layer and from those below; a folder stands for the files in it that no
 * layer names.
 */
const LAYERS = [
  ['index.ts'],
  ['plugin.ts'],
  ['warnings.ts', 'which-redis.ts'],
  ['http/'],
  ['options.ts', 'claim-options.ts', 'provider-options.ts', 'refresh-options.ts'],
  ['route-options.ts'],
  ['domain/'],
  ['stores/redis/option.ts'],
  ['stores/open.ts'],
  ['stores/replica/'],
  ['stores/redis/'],
  ['stores/memory.ts'],
  ['stores/memory-refreshes.ts', 'stores/expiring-map.ts'],
  ['stores/store.ts', 'stores/deadline.ts', 'stores/char-code.ts'],
  ['stores/entry.ts', 'stores/refresh.ts', 'types.ts', 'call-types.ts', 'option-types.ts', 'provider-types.ts', 'result-types.ts', 'errors.ts', 'time.ts', 'domain/claims.ts', 'domain/names.ts', 'domain/retention.ts']
]

/** What only types are imported from leaves nothing in the JavaScript, but a reader has to follow it just the same. */
const IMPORT = /^(?:import|export)\b[^'";]*?\bfrom\s+'(\.[^']+)'|^import\s+'(\.[^']+)'|\bimport\('(\.[^']+)'\)/gm

const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts')).map(withSlashes).sort()
const sources = new Map(files.map((file) => [file, readFileSync(join(LIB, file), 'utf8')]))
const imports = new Map(files.map((file) => [file, importsOf(file)]))

function withSlashes (path: string) {
  return path.replaceAll('\\', '/')
}

function importsOf (file: string) {
  return [...sources.get(file)!.matchAll(IMPORT)].map((match) => {
    const path = match[1] ?? match[2] ?? match[3]!
    return withSlashes(relative(LIB, resolve(LIB, dirname(file), path)))
  })
}

function layerOf (file: string) {
  const named = LAYERS.findIndex((layer) => layer.includes(file))
  return named >= 0 ? named : LAYERS.findIndex((layer) => layer.some((name) => name.endsWith('/') && file.startsWith(name)))
}

t.test('the walk finds the files and what they import', async (t) => {
  t.ok(files.length > 15)
  t.ok(imports.get('index.ts')!.includes('plugin.ts'))
  t.ok(imports.get('stores/redis/writer.ts')!.includes('stores/redis/answers.ts'))
  t.strictSame([...imports.values()].flat().filter((file) => !sources.has(file)), [], 'each is a file of lib')
  t.strictSame(LAYERS.flat().filter((name) => !name.endsWith('/') && !sources.has(name)), [], 'so is each that has a layer')
})

t.test('every file of lib has its layer and imports from none above it', async (t) => {
  t.strictSame(files.filter((file) => layerOf(file) < 0), [])
  const upward = files.flatMap((file) => imports.get(file)!.filter((other) => layerOf(other) < layerOf(file)).map((other) => `${file} imports ${other}`))
  t.strictSame(upward, [])
})

t.test('no import of lib leads back to where it came from', async (t) => {
  const cycles: string[] = []
  const done = new Set<string>()
  const walk = (file: string, path: string[]) => {
    if (path.includes(file)) return cycles.push([...path.slice(path.indexOf(file)), file].join(' → '))
    if (done.has(file)) return
    for (const other of imports.get(file) ?? []) walk(other, [...path, file])
    done.add(file)
  }
  for (const file of files) walk(file, [])
  t.strictSame(cycles, [])
})

t.test('the domain knows nothing of HTTP, the stores nothing of claims, and one file which client there is', async (t) => {
  const fetching = (path: string) => files.filter((file) => new RegExp(`^(?!import type).*(?:from |import\\()'${path}'`, 'm').test(sources.get(file)!))
  const naming = (path: string) => files.filter((file) => sources.get(file)!.includes(`'${path}'`))
  t.strictSame(naming('fastify').filter((file) => file.startsWith('domain/') || file.startsWith('stores/')), [])
  t.strictSame(files.filter((file) => file.startsWith('stores/') && imports.get(file)!.includes('domain/claims.ts')), [])
  t.strictSame(fetching('ioredis'), ['stores/redis/open.ts'])
})

t.test(`no file of lib has more than ${MAX_LINES} lines`, async (t) => {
  const lines = files.map((file) => ({ file, lines: sources.get(file)!.split('\n').length - 1 }))
  t.strictSame(lines.filter(({ lines }) => lines > MAX_LINES), [])
})

t.test(`no line of lib has more than ${MAX_COLUMNS} columns`, async (t) => {
  const long = files.flatMap((file) => sources.get(file)!.split('\n')
    .flatMap((line, i) => line.length > MAX_COLUMNS ? [`${file}:${i + 1}`] : []))
  t.strictSame(long, [])
})

t.test('one file asks for the time and sets timers', async (t) => {
  const using = /\b(?:Date\.now|performance|set(?:Timeout|Interval|Immediate)|clear(?:Timeout|Interval|Immediate))\b|new Date\(\)|\bDate\(\)|node:(?:timers|perf_hooks)|process\.hrtime/
  t.strictSame(files.filter((file) => using.test(sources.get(file)!)), ['time.ts'])
})

t.test('no two exports of lib share a name', async (t) => {
  const names = files.filter((file) => file !== 'index.ts').flatMap((file) =>
    [...sources.get(file)!.matchAll(/^export (?:abstract |async )*(?:function\*?|const|class|interface|type) (\w+)/gm)].map(([, name]) => name!))
  t.strictSame(names.filter((name, i) => names.indexOf(name) !== i), [])
})
