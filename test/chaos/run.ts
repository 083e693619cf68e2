import { parseArgs } from 'node:util'
import type { RevocationOptions } from '../../lib/index.ts'
import { chaos } from './chaos.ts'
import { check } from './checker.ts'
import { report } from './report.ts'

const USAGE = 'tsx test/chaos/run.ts [--seed N] [--seconds N] [--break accept]'

/** Of the plugin, to see that the checker finds what comes of it. */
const BREAKS: Record<string, RevocationOptions> = {
  accept: { onStoreFailure: 'accept' }
}

const { values } = parseArgs({ options: { seed: { type: 'string' }, seconds: { type: 'string', default: '60' }, break: { type: 'string' } } })
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
const seconds = Number(values.seconds)
const broken = values.break === undefined ? {} : BREAKS[values.break]
if (!Number.isSafeInteger(seed) || !(seconds > 0) || broken === undefined) throw new Error(USAGE)

// Node's own end by a signal would run no exit handler, and leave processes behind.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

const teardowns: Array<() => unknown> = []
console.log(`seed: ${seed}`)
console.log(`seconds: ${seconds}`)
try {
  const history = await chaos({ after: (teardown) => teardowns.unshift(teardown) }, { seed, seconds, revocation: broken })
  const verdict = check(history)
  for (const line of report(history, verdict)) console.log(line)
  if (verdict.violations.length > 0) process.exitCode = 1
} finally {
  for (const teardown of teardowns) await teardown()
}
console.log(`seed: ${seed}`)
