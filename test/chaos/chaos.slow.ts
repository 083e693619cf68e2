import { execFile } from 'node:child_process'
import t from 'tap'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { planOf } from './chaos.ts'
import { OUTCOMES } from './history.ts'
import { FAULTS } from './plan.ts'
import { bareEnv, program } from '../support/child.ts'

/* Runs of real processes. chaos.test.ts holds what judges them. */

const RUN = fileURLToPath(new URL('run.ts', import.meta.url))
const ACCEPTED = 'accepted after its revocation'

/** The command, with what it counts by the first words of its lines. */
async function run (...args: string[]) {
  const { stdout, code } = await promisify(execFile)(...program(RUN, ...args), { env: bareEnv(), timeout: 100_000 })
    .then(({ stdout }) => ({ stdout, code: 0 }), (error) => error as { stdout: string, code: number })
  const counts = Object.fromEntries([...stdout.matchAll(/^ *([a-z][a-z -]*): (\d+)$/gm)].map(([, name, count]) => [name!, Number(count)]))
  const sum = (names: readonly string[]) => names.reduce((sum, name) => sum + counts[name]!, 0)
  return { stdout, code, counts, sum }
}

t.test('a short run of real processes', { timeout: 110_000 }, async (t) => {
  // One of those whose faults bring a forbidden command, a clock ahead and an older copy.
  const { stdout, code, counts, sum } = await run('--seed', '14437', '--seconds', '10')
  t.equal(code, 0, 'holds', { stdout })
  t.match(stdout, /^seed: 14437\n[^]*\nseed: 14437\n$/)
  t.match(counts, { seconds: 10, violations: 0, 'command forbidden': 1, 'clock ahead': 1, 'log restored': 1, 'with a clock ahead': 1 })
  t.ok(counts.requests! > 200 && counts.accepted! > 50 && counts.refused! > 50, 'enough of it', { counts })
  t.equal(sum(OUTCOMES), counts.requests, 'each request has one outcome')
  t.equal(sum(['acknowledged', 'not acknowledged']), counts.revocations)
  t.equal(sum(['tokens', 'subjects', 'sessions', 'tenants'].map((name) => `told of ${name}`)), counts.tellings)
  t.equal(sum(FAULTS), counts.faults)
  t.ok(counts['tokens issued']! > 50 && counts.acknowledged! > 20 && counts['subjects ended']! > 0, 'of everything', { counts })
  t.ok(counts['told of tokens']! > 10 && counts['told of subjects']! > 0, 'told of both', { counts })
  t.ok(counts['told of sessions']! > 0 && counts['told of tenants']! > 0, 'and of what ends several tokens', { counts })
  t.ok(counts['refreshes accepted']! > 20 && counts['refreshes invalid']! > 10, 'devices go on, and do not', { counts })
  t.ok(counts['the successor again']! > 0 && counts['ended by reuse']! > 0, 'within the grace, and after it', { counts })
  t.ok(counts['sessions ended']! > 0 && counts['tenants ended']! > 0, 'both ended', { counts })
  t.ok(counts['of sessions that had ended']! > 0 && counts.elsewhere! > 0, 'a provider went on', { counts })
})

t.test('a plugin that accepts what it can not check is found out', { timeout: 110_000 }, async (t) => {
  const seconds = 9
  let seed = 1
  while (!planOf({ seed, seconds }).some(({ kind, at, lasts }) => kind === 'redis paused' && at > 1000 && lasts > 1000)) seed++
  const { stdout, code, counts } = await run('--seed', String(seed), '--seconds', String(seconds), '--break', 'accept')
  t.equal(code, 1)
  t.ok(counts[ACCEPTED]! > 0 && counts.violations === counts[ACCEPTED], 'by what it accepts', { counts })
  t.match(stdout, /^ACCEPTED AFTER ITS REVOCATION: strict/m, 'and told of')
})
