import { readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import type { RevocationOptions } from '../../lib/index.ts'
import { chaos } from './chaos.ts'
import { check } from './checker.ts'
import type { History } from './history.ts'
import { report } from './report.ts'

const USAGE = 'tsx test/chaos/run.ts [--seed N] [--seconds N] [--break accept] [--save FILE]\n       tsx test/chaos/run.ts --again FILE'

/** Of the plugin, to see that the checker finds what comes of it. */
const BREAKS: Record<string, RevocationOptions> = {
  accept: { onStoreFailure: 'accept' }
}

const { values } = parseArgs({ options: { seed: { type: 'string' }, seconds: { type: 'string', default: '60' }, break: { type: 'string' }, save: { type: 'string' }, again: { type: 'string' } } })
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
const seconds = Number(values.seconds)
const { save, again } = values
const broken = values.break === undefined ? {} : BREAKS[values.break]
if (!Number.isSafeInteger(seed) || !(seconds > 0) || broken === undefined) throw new Error(USAGE)

// Node's own end by a signal would run no exit handler, and leave processes behind.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

const teardowns: Array<() => unknown> = []
console.log(`seed: ${seed}`)
console.log(`seconds: ${seconds}`)
try {
  // What happened once can be judged again.
  const history: History = again === undefined
    ? await chaos({ after: (teardown) => teardowns.unshift(teardown) }, { seed, seconds, revocation: broken })
    : deserialize(await readFile(again))
  if (save !== undefined) await writeFile(save, serialize(history))
  const verdict = check(history)
  for (const line of report(history, verdict)) console.log(line)
  if (verdict.violations.length > 0) process.exitCode = 1
} finally {
  for (const teardown of teardowns) await teardown()
}
console.log(`seed: ${seed}`)
