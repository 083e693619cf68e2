import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { transpileAll } from './support/transpile.js'

/*
 * Runs test files, each in a process of its own, from JavaScript that was made before: `tap` itself, which measures the
 * coverage and runs single files just as well, puts three loaders into each process, and they cost more than most tests.
 *
 *   node test/run.js                  every *.test.ts
 *   node test/run.js test/x.test.ts   these files
 *   node test/run.js --jobs=1         one at a time
 *   node test/run.js --lines          with the lines of the source in what it prints, for a seventh more of CPU
 */

const KEPT = join('.tap', 'transpiled')
const TIMES = join('.tap', 'times.json')

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    // Many a test waits for a timer or for Redis.
    jobs: { type: 'string', default: String(availableParallelism() + 1) },
    timeout: { type: 'string', default: '600' },
    lines: { type: 'boolean', default: false }
  }
})
const timeout = Number(values.timeout)

await transpileAll()
const files = positionals.length > 0 ? positionals : await testFiles()
const times = await readFile(TIMES, 'utf8').then(JSON.parse, () => ({}))
const sum = { total: 0, pass: 0, fail: 0, todo: 0, skip: 0 }

// The longest first, so that no core waits for one of them in the end.
const queue = files.toSorted((a, b) => (times[b] ?? Infinity) - (times[a] ?? Infinity) || a.localeCompare(b))
const left = queue.values()
const started = performance.now()
await Promise.all(Array.from({ length: Math.min(Number(values.jobs), files.length) }, async () => {
  for (const file of left) await run(file)
}))
await writeFile(TIMES, JSON.stringify(times))
if (sum.fail > 0 && !values.lines) console.log('# The lines are those of .tap/transpiled: `npm test -- --lines FILE` gives those of the source.')
console.log(`# ${files.length} files, ${seconds(started)} s`)
console.log(`# { ${Object.entries(sum).filter(([name, count]) => name === 'total' || name === 'pass' || count > 0).map((entry) => entry.join(': ')).join(', ')} }`)
if (sum.fail > 0 || sum.total === 0) process.exitCode = 1

async function testFiles () {
  const found = await readdir('test', { recursive: true })
  return found.filter((name) => name.endsWith('.test.ts')).map((name) => join('test', name))
}

async function run (file) {
  const started = performance.now()
  const child = spawn(process.execPath, [...values.lines ? ['--enable-source-maps'] : [], join(KEPT, file.replace(/ts$/, 'js'))], {
    // tap ends a file itself that takes too long, and says where it was.
    env: { ...process.env, TAP_TIMEOUT: String(timeout), TAP_TRANSPILED: '1' },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const output = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (chunk) => { output.out += chunk })
  child.stderr.setEncoding('utf8').on('data', (chunk) => { output.err += chunk })
  const patience = setTimeout(() => child.kill('SIGKILL'), (timeout + 30) * 1000)
  const [code, signal] = await once(child, 'close')
  clearTimeout(patience)
  times[file] = Math.round(performance.now() - started)

  const counts = countsIn(output.out)
  // It ended otherwise than by its tests: one failure more than it says.
  if (counts.fail === 0 && (code !== 0 || counts.total === 0)) counts.fail = 1
  for (const name of Object.keys(sum)) sum[name] += counts[name]
  const isGood = counts.fail === 0
  if (!isGood) for (const line of failures(output)) console.log(line)
  console.log(`${isGood ? 'ok' : 'not ok'} - ${file} # ${counts.pass} passed, ${seconds(started)} s${isGood ? '' : `, ${signal ?? `code ${code}`}`}`)
}

/** Of tap's closing line, such as "# { total: 6, pass: 3, fail: 1, todo: 1, skip: 1 }". */
function countsIn (out) {
  const line = /^# \{ (total: .*) \}$/m.exec(out)?.[1] ?? ''
  return { total: 0, pass: 0, fail: 0, todo: 0, skip: 0, ...Object.fromEntries([...line.matchAll(/(\w+): (\d+)/g)].map(([, name, count]) => [name, Number(count)])) }
}

/** Each line "not ok" with what follows of it, under the names of its tests; and all that was printed beside. */
function * failures ({ out, err }) {
  let isPart = false
  for (const line of out.split('\n')) {
    if (/^ *not ok /.test(line)) isPart = true
    else if (/^ *(ok |# Subtest|\d+\.\.\d+|# \{)/.test(line)) isPart = false
    if (isPart) yield line
  }
  if (err !== '') yield err
}

function seconds (since) {
  return ((performance.now() - since) / 1000).toFixed(1)
}
