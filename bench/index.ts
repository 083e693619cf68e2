import { writeFile } from 'node:fs/promises'
import { Databases } from './measures/databases.ts'
import { measureDirect } from './measures/direct.ts'
import { measureMemory } from './measures/memory.ts'
import { measurePropagation } from './measures/propagation.ts'
import { measureRedisBytes } from './measures/redis-bytes.ts'
import { measureRequests } from './measures/requests.ts'
import { measureRevocations } from './measures/revocations.ts'
import { measureStartUp } from './measures/start-up.ts'
import { chart } from './report/chart.ts'
import { describeMachine } from './report/machine.ts'
import { mainTable } from './report/main-table.ts'
import { markdown } from './report/markdown.ts'
import { Matrix, type Results } from './report/results.ts'
import { targetsOf, targetTable } from './report/targets.ts'
import { settingsOf } from './settings.ts'
import { inSession } from './support/owner.ts'
import { Database } from './support/redis.ts'

const settings = settingsOf(process.argv.slice(2))
// Ends the servers as well, which a signal would leave alone.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
const started = performance.now()
const machine = await inSession(async (session) => describeMachine((await Database.start(session)).redis))

/** A server that is not measured must not run beside one that is: each of these ends what it started. */
const results: Results = {
  date: new Date().toISOString(),
  machine,
  settings,
  ...await inSession(async (session) => {
    const databases = await step('filling Redis', () => Databases.start(session, settings.entries))
    return {
      requests: await step('requests', () => measureRequests(settings, databases)),
      direct: await step('within the process', () => measureDirect(settings, databases))
    }
  }),
  revocations: await step('revocations', () => measureRevocations(settings)),
  propagation: await step('from a revocation to refusal', () => measurePropagation(settings)),
  memory: await step('memory', () => measureMemory(settings)),
  startUp: await step('start', () => measureStartUp(settings)),
  redisBytes: await step('Redis\' memory', () => measureRedisBytes(settings))
}

const matrix = new Matrix(results)
await write('results.json', `${JSON.stringify(results, rounded, 1)}\n`)
await write('results.md', markdown(results))
await write('results.svg', chart(matrix))
console.log(`\n${mainTable(matrix)}\n\n## Targets\n\n${targetTable(targetsOf(results))}\n`)
console.log(`${Math.round((performance.now() - started) / 1000)} s; bench/results.md has the rest`)

async function step<T> (name: string, measure: () => Promise<T>): Promise<T> {
  const from = performance.now()
  const result = await measure()
  console.log(`${name}: ${Math.round((performance.now() - from) / 1000)} s`)
  return result
}

async function write (name: string, content: string) {
  await writeFile(new URL(name, import.meta.url), content)
}

function rounded (_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(5)) : value
}
