import { writeFile } from 'node:fs/promises'
import { Databases } from './measures/databases.ts'
import { measureDirect } from './measures/direct.ts'
import { measureMemory } from './measures/memory.ts'
import { measurePropagation } from './measures/propagation.ts'
import { measureRedisBytes } from './measures/redis-bytes.ts'
import { measureRequests } from './measures/requests.ts'
import { measureRevocations } from './measures/revocations.ts'
import { measureSideBySide } from './measures/side-by-side.ts'
import { measureStartUp } from './measures/start-up.ts'
import { chart } from './report/chart.ts'
import { describeMachine } from './report/machine.ts'
import { mainTable } from './report/main-table.ts'
import { markdown, SECTIONS } from './report/markdown.ts'
import { Matrix, type Results, type Section } from './report/results.ts'
import { targetsOf, targetTable } from './report/targets.ts'
import { settingsOf } from './settings.ts'
import { inSession } from './support/owner.ts'
import { Database } from './support/redis.ts'

const { settings, only } = settingsOf(process.argv.slice(2), Object.keys(SECTIONS) as Section[])
// Ends the servers as well, which a signal would leave alone.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
const started = performance.now()
const machine = await inSession(async (session) => describeMachine((await Database.start(session)).redis))
const results: Partial<Results> = { date: new Date().toISOString(), machine, settings }

/** A server that is not measured must not run beside one that is: each of these ends what it started. */
if (only.some((section) => ['requests', 'sideBySide', 'direct'].includes(section))) {
  await inSession(async (session) => {
    const databases = await Databases.start(session, settings.entries)
    await measure('requests', () => measureRequests(settings, databases))
    await measure('sideBySide', () => measureSideBySide(settings, databases))
    await measure('direct', () => measureDirect(settings, databases))
  })
}
await measure('revocations', () => measureRevocations(settings))
await measure('propagation', () => measurePropagation(settings))
await measure('memory', () => measureMemory(settings))
await measure('startUp', () => measureStartUp(settings))
await measure('redisBytes', () => measureRedisBytes(settings))

if (isWhole(results)) {
  const matrix = new Matrix(results)
  await write('results.json', `${JSON.stringify(results, rounded, 1)}\n`)
  await write('results.md', markdown(results))
  await write('results.svg', chart(matrix))
  console.log(`\n${mainTable(matrix)}\n\n## Targets\n\n${targetTable(targetsOf(results))}\n`)
  console.log(`${secondsSince(started)} s; bench/results.md has the rest`)
}

/** What was measured is told at once: nothing of it is lost when a later part fails. */
async function measure<S extends Section> (section: S, run: () => Promise<Results[S]>) {
  if (!only.includes(section)) return
  const from = performance.now()
  results[section] = await run()
  console.log(`\n${SECTIONS[section](results as Results)}\n\n(${secondsSince(from)} s)`)
}

function isWhole (results: Partial<Results>): results is Results {
  return Object.keys(SECTIONS).every((section) => section in results)
}

async function write (name: string, content: string) {
  await writeFile(new URL(name, import.meta.url), content)
}

function secondsSince (moment: number): number {
  return Math.round((performance.now() - moment) / 1000)
}

function rounded (_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(5)) : value
}
