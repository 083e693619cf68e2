import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { BUNDLED, bundleAll, PROGRAMS } from './support/bundle.js'

/*
 * Runs test files, several to a process, from JavaScript that was made before: `tap` itself, which measures the coverage
 * and runs single files just as well, puts three loaders into each process, and they cost more than most tests.
 *
 *   node test/run.js                  every *.test.ts
 *   node test/run.js test/x.test.ts   these files, each in a process of its own
 *   node test/run.js --together=5 …   these files, five to a process
 *   node test/run.js --jobs=1         one process at a time
 *   node test/run.js --lines          with the lines of the source in what it prints, and the test of each error that nobody
 *                                     handled, for a third more of CPU
 */

const UNHOOKED = new URL('support/unhooked.js', import.meta.url).href
const OUTPUT = new URL('support/output.js', import.meta.url).href
const SHORT_LIVED = new URL('support/short-lived.js', import.meta.url).href
/** Megabytes that are filled before V8 collects what is young: more than by default, because a collection copies what is alive. */
const YOUNG = 32
const EARLY = pathToFileURL(join(BUNDLED, 'test', 'support', 'early.js')).href
const TIMES = join('.tap', 'times.json')
/** Milliseconds. */
const WORK = 300
const CORES = Math.min(availableParallelism(), 8)

/**
 * Files that run alone: they take long, measure the memory of their process, or listen to all of its errors. In the order
 * in which they start before their times are known.
 */
const ALONE = [
  'faults/replica-faults', 'faults/slow-redis', 'faults/cluster-faults', 'faults/faults', 'faults/told', 'faults/stalls',
  'http/backchannel-logout', 'stores/redis/advice', 'http/signed-elsewhere', 'stores/stores', 'domain/history', 'faults/clocks',
  'hostile/bad-tokens', 'stores/replica/denylist', 'faults/processes', 'domain/concurrency'
].map((name) => join('test', `${name}.test.ts`))

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: 'string' },
    timeout: { type: 'string', default: '600' },
    together: { type: 'string' },
    lines: { type: 'boolean', default: false }
  }
})
const timeout = Number(values.timeout)
// Many a test waits for a timer or for Redis. Where others want the cores as well, each test gets more of them.
const jobs = Number(values.jobs ?? CORES + (isBusy() ? 1 : 4))
const together = Number(values.together ?? (positionals.length > 0 ? 1 : 8))

const files = positionals.length > 0 ? positionals : await testFiles()
await bundleAll(files)
const times = await readFile(TIMES, 'utf8').then(JSON.parse, () => ({}))
const sum = { total: 0, pass: 0, fail: 0, todo: 0, skip: 0 }

// The longest first, so that no core waits for one of them in the end. Before the first run nobody knows them: then files
// that run alone, most of which wait, take turns with those that work, of which the stores take longest.
const all = batches(files)
const several = all.filter(({ length }) => length > 1)
const rankOf = (batch) => batch.length > 1
  ? several.length - several.indexOf(batch)
  : ALONE.indexOf(batch[0]) + 1 || ALONE.length + 1
const timeOf = (batch) => batch.reduce((time, file) => time + (times[file] ?? Infinity), 0)
const queue = all.map((batch) => ({ batch, time: timeOf(batch), rank: rankOf(batch) }))
  .toSorted((a, b) => b.time - a.time || a.rank - b.rank).map(({ batch }) => batch)
const started = performance.now()
await Promise.all(Array.from({ length: Math.min(jobs, queue.length) }, async () => {
  for (let batch = queue.shift(); batch; batch = queue.shift()) await run(batch)
}))
await writeFile(TIMES, JSON.stringify(times))
if (sum.fail > 0 && !values.lines) console.log('# The lines are those of .tap/bundled: `npm test -- --lines FILE` gives those of the source.')
console.log(`# ${files.length} files, ${seconds(performance.now() - started)} s`)
console.log(`# { ${Object.entries(sum).filter(([name, count]) => name === 'total' || name === 'pass' || count > 0).map((entry) => entry.join(': ')).join(', ')} }`)
if (sum.fail > 0 || sum.total === 0) process.exitCode = 1

/** Whether work for a part of a second takes much longer than that: others have the cores. */
function isBusy () {
  const [started, before] = [performance.now(), process.cpuUsage()]
  for (let spent = 0; spent < WORK;) {
    const { user, system } = process.cpuUsage(before)
    spent = (user + system) / 1000
  }
  return performance.now() - started > 1.3 * WORK
}

async function testFiles () {
  const found = await readdir('test', { recursive: true })
  return found.filter((name) => name.endsWith('.test.ts')).map((name) => join('test', name)).sort()
}

/** The files of one folder, in the order of their names: the same ones share a process in each run and on each machine. */
function batches (files) {
  const all = []
  const open = new Map()
  for (const file of files) {
    const folder = dirname(file)
    const batch = open.get(folder)
    if (ALONE.includes(file) || together === 1) all.push([file])
    else if (batch && batch.length < together) batch.push(file)
    else {
      open.set(folder, [file])
      all.push(open.get(folder))
    }
  }
  return all
}

async function run (batch) {
  const isAlone = batch.length === 1
  const began = performance.now()
  const program = isAlone ? join(BUNDLED, batch[0].replace(/ts$/, 'js')) : 'test/support/batch.js'
  const { out, err, code, signal } = await outcome(program, batch)
  const took = performance.now() - began

  const counts = countsIn(out)
  const done = isAlone ? [{ file: batch[0], counts, took }] : endsIn(out)
  const missing = batch.slice(done.length)
  // A process that was killed leaves no closing line.
  if (counts.total === 0 && !isAlone) for (const end of done) for (const name of Object.keys(sum)) counts[name] += end.counts[name]
  // It ended otherwise than by its tests: one failure more than it says.
  if (counts.fail === 0 && (code !== 0 || counts.total === 0 || missing.length > 0)) counts.fail = 1
  for (const name of Object.keys(sum)) sum[name] += counts[name]
  const isGood = counts.fail === 0
  if (!isGood) for (const line of failures(out, err)) console.log(line)

  const how = signal ?? `code ${code}`
  for (const { file, counts: { pass, fail }, took } of done) {
    const isFileGood = fail === 0 && (isGood || !isAlone)
    if (isFileGood) times[file] = Math.round(took)
    console.log(`${isFileGood ? 'ok' : 'not ok'} - ${file} # ${pass} passed, ${seconds(took)} s${isFileGood ? '' : `, ${how}`}`)
  }
  if (missing.length > 0) {
    console.log(`not ok - ${missing[0]} # ended the process of ${batch.length} files, ${how}`)
    // What it kept from running still has its turn.
    if (missing.length > 1) queue.push(missing.slice(1))
  } else if (!isGood && done.every(({ counts }) => counts.fail === 0)) {
    console.log(`not ok - one of ${batch.join(' ')} # ${how}; alone each says more`)
  }
}

async function outcome (program, files) {
  const patience = timeout * files.length
  const how = values.lines ? '--enable-source-maps' : `--import=${UNHOOKED}`
  const imports = [SHORT_LIVED, OUTPUT, EARLY].map((file) => `--import=${file}`)
  const child = spawn(process.execPath, [`--max-semi-space-size=${YOUNG}`, how, ...imports, program], {
    // tap ends a file itself that takes too long, and says where it was.
    env: {
      ...process.env,
      TAP_TIMEOUT: String(patience),
      TESTS_BUNDLED: PROGRAMS.join(),
      TEST_BATCH: JSON.stringify({ seconds: timeout, folder: BUNDLED, files })
    },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (chunk) => { out += chunk })
  child.stderr.setEncoding('utf8').on('data', (chunk) => { err += chunk })
  const timer = setTimeout(() => child.kill('SIGKILL'), (patience + 30) * 1000)
  const [code, signal] = await once(child, 'close')
  clearTimeout(timer)
  return { out, err, code, signal }
}

/** What `batch.js` says of each file that came to its end. */
function endsIn (out) {
  return [...out.matchAll(/^# ends: (\{.*\})$/gm)].map(([, said]) => JSON.parse(said))
}

/** Of tap's closing line, such as "# { total: 6, pass: 3, fail: 1, todo: 1, skip: 1 }". */
function countsIn (out) {
  const line = /^# \{ (total: .*) \}$/m.exec(out)?.[1] ?? ''
  return { total: 0, pass: 0, fail: 0, todo: 0, skip: 0, ...Object.fromEntries([...line.matchAll(/(\w+): (\d+)/g)].map(([, name, count]) => [name, Number(count)])) }
}

/** Each line "not ok" with what follows of it, under the names of its tests; and all that was printed beside. */
function * failures (out, err) {
  let isPart = false
  for (const line of out.split('\n')) {
    if (/^ *not ok /.test(line)) isPart = true
    else if (/^ *(ok |# Subtest|\d+\.\.\d+|# \{)/.test(line)) isPart = false
    if (isPart) yield line
  }
  if (err !== '') yield err
}

function seconds (milliseconds) {
  return (milliseconds / 1000).toFixed(1)
}
