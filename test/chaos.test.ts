import { execFile } from 'node:child_process'
import t from 'tap'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { planOf } from './chaos/chaos.ts'
import { check } from './chaos/checker.ts'
import { MEASURING, PUT_BACK } from './chaos/durability.ts'
import { OUTCOMES, type Fault, type History, type Request, type Run, type Target } from './chaos/history.ts'
import { FAULTS, plan } from './chaos/plan.ts'
import { Random } from './chaos/random.ts'
import { bareEnv, node } from './support/child.ts'

const RUN = fileURLToPath(new URL('chaos/run.ts', import.meta.url))
const [STRICT, REPLICA, OTHER_REPLICA] = [0, 1, 2]
const STALENESS = 1000
const IAT = 100

const REFUSED = { status: 401, code: 'FST_JWT_REVOKED' }
const EXPIRED = { status: 401, code: 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED' }
const UNAVAILABLE = { status: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', retryAfter: '1' }
const FORBIDDEN = { status: 403, code: 'FST_JWT_REVOCATION_FORBIDDEN' }
const UNREACHABLE = { status: 0, error: 'ECONNRESET' }

type Answer = Partial<Request>
const request = (run: number, from: number, more: Answer): Request => ({ run, from, to: from + 10, what: '', turns: 1, status: 200, ...more })
const use = (run: number, from: number, answer: Answer = {}) => request(run, from, { jti: 'a', ...answer })
const revoke = (from: number, answer: Answer = {}, target: Target = { kind: 'token', jti: 'a' }) =>
  request(STRICT, from, { jti: 'b', turns: 2, target, ...answer })
const cutOff = (from: number, cutoff: number, answer: Answer = {}) => revoke(from, { cutoff, ...answer }, { kind: 'subject', sub: 's' })
const others = (from: number, answer: Answer = {}) => revoke(from, answer, { kind: 'others', sub: 's' })
const flushed = (from: number): Fault => ({ kind: 'everything flushed', on: 'redis', from, to: from + 10, loses: true })
const fault = (kind: string, on: string, from: number, to: number): Fault => ({ kind, on, from, to })

/** Three tokens of one subject, the late one from after 5 s. The replicas are in step every 50 ms unless `samples` says how long. */
function history (requests: Request[], { faults = [], runs = {}, samples = 30_000 }: { faults?: Fault[], runs?: Record<number, Partial<Run>>, samples?: number } = {}): History {
  const inStep = Array.from({ length: samples / 50 }, (_, i) => ({ at: 50 * i + 5, inStepAt: 50 * i }))
  const run = (member: string, index: number): Run => ({
    member, mode: index === STRICT ? 'strict' : 'replica', from: 0, to: Infinity, stalls: [], stderr: '', samples: index === STRICT ? [] : inStep, ...runs[index]
  })
  const token = (jti: string, issue = 0, iat = IAT) => ({ jti, id: jti, sub: 's', iat, exp: 130, issue })
  const issues = [request(STRICT, 0, {}), request(STRICT, 5000, {})]
  return {
    started: 0,
    epoch: 100_000,
    storeTimeout: 300,
    maxStaleness: STALENESS,
    runs: ['strict', 'replica', 'other replica'].map(run),
    faults,
    stalls: [],
    tokens: [token('a'), token('b'), token('late', 1, IAT + 1)],
    requests: [...issues, ...requests]
  }
}

const late = { jti: 'late' }
const ACCEPTED = 'accepted after its revocation'
const NEVER = 'refused and never revoked'
const known = STALENESS + MEASURING + 100
const back = PUT_BACK + 1200

const HISTORIES: Array<[what: string, history: History, ...violations: string[]]> = [
  ['used and never revoked', history([use(STRICT, 100), use(REPLICA, 100)])],
  ['refused after its revocation', history([revoke(100), use(STRICT, 120, REFUSED), use(REPLICA, 120, REFUSED)])],
  ['accepted by a strict process', history([revoke(100), use(STRICT, 111)]), ACCEPTED],
  ['accepted by a strict process while it is revoked', history([revoke(100), use(STRICT, 109)])],
  ['accepted by a replica within its staleness', history([revoke(100), use(REPLICA, 1100)])],
  ['accepted by a replica after it', history([revoke(100), use(REPLICA, 1131)]), ACCEPTED],
  ['let in, and forbidden then', history([revoke(100), use(STRICT, 200, { ...FORBIDDEN, target: { kind: 'token', jti: 'b' } })], { faults: [flushed(50)] }), ACCEPTED],
  ['unavailable', history([revoke(100), use(STRICT, 200, UNAVAILABLE)])],
  ['an acknowledgement that did not come leaves both', history([revoke(100, UNAVAILABLE), use(STRICT, 200), use(STRICT, 300, REFUSED), use(STRICT, 400)])],
  ['nor did that of a connection', history([revoke(100, { run: REPLICA, ...UNREACHABLE }), use(STRICT, 200), use(STRICT, 300, REFUSED)], { runs: { [REPLICA]: { to: 105 } } })],
  ['acknowledged the second time', history([revoke(100, UNAVAILABLE), revoke(200), use(STRICT, 300)]), ACCEPTED],
  ['refused and never revoked', history([use(STRICT, 100, REFUSED)]), NEVER],
  ['refused before it is revoked', history([use(STRICT, 100, REFUSED), revoke(200)]), NEVER],
  ['refused for a revocation that was refused', history([revoke(100, REFUSED), use(STRICT, 200, REFUSED), revoke(300)]), NEVER, NEVER],
  ['an expired token passes where nobody verifies', history([revoke(100), use(STRICT, 29_990)])],
  ['expired', history([use(STRICT, 30_000, EXPIRED)])],
  ['expired too early', history([use(STRICT, 29_000, EXPIRED)]), 'unexpected answer'],

  ['cut off', history([cutOff(100, IAT), use(STRICT, 200, REFUSED)])],
  ['cut off and accepted', history([cutOff(100, IAT), use(STRICT, 200)]), ACCEPTED],
  ['from after the cutoff', history([cutOff(100, IAT - 1), use(STRICT, 200)])],
  ['from after the cutoff and refused', history([cutOff(100, IAT - 1), use(STRICT, 200, REFUSED)]), NEVER],
  ['a cutoff that was not acknowledged', history([cutOff(100, NaN, UNAVAILABLE), use(STRICT, 200, REFUSED), use(STRICT, 300)])],
  ['given from before a cutoff', history([cutOff(100, IAT + 1)]), 'given and already revoked'],
  ['given from before a cutoff that Redis lost', history([cutOff(100, IAT + 1)], { faults: [flushed(200)] })],
  ['the others end', history([others(100), use(STRICT, 200, REFUSED), use(STRICT, 200, { jti: 'b' })])],
  ['one of the others does not', history([others(100), use(STRICT, 200)]), ACCEPTED],
  ['the one that speaks ends with them', history([others(100), use(STRICT, 200, { jti: 'b', ...REFUSED })]), NEVER],
  ['a later one is none of the others', history([others(100), use(STRICT, 6000, late)])],
  ['a later one ends with the others', history([others(100), use(STRICT, 6000, { ...late, ...REFUSED })]), NEVER],
  ['the others of which the records are lost', history([others(100), use(STRICT, 200), use(STRICT, 200, REFUSED)], { faults: [flushed(50)] })],

  ['a strict process accepts what Redis lost', history([revoke(100), use(STRICT, known + 50)], { faults: [flushed(known)] })],
  ['and so it does until it is put back', history([revoke(100), use(STRICT, back - 100)], { faults: [flushed(known)] })],
  ['and not longer', history([revoke(100), use(STRICT, back)], { faults: [flushed(known)] }), ACCEPTED],
  ['before the loss', history([revoke(100), use(STRICT, 200)], { faults: [flushed(known)] }), ACCEPTED],
  ['lost before it was revoked', history([revoke(100), use(STRICT, 200)], { faults: [flushed(50)] }), ACCEPTED],
  ['while it is disturbed it has time', history([revoke(100), use(STRICT, back)], {
    faults: [flushed(known), fault('link delayed', 'replica', 2000, 3000), fault('process paused', 'other replica', 3000, 4000)]
  })],
  ['one that is not disturbed is enough', history([revoke(100), use(STRICT, back)], {
    faults: [flushed(known), fault('link delayed', 'replica', 2000, 3000), fault('process paused', 'strict', 3000, 4000)]
  }), ACCEPTED],
  ['lost before any replica knew', history([revoke(100), use(STRICT, 20_000), use(REPLICA, 20_000)], { faults: [flushed(120)] })],
  ['all that knew it are gone', history([revoke(100), use(STRICT, 20_000)], {
    faults: [flushed(known)], runs: { [REPLICA]: { to: 1400 }, [OTHER_REPLICA]: { to: 1400 } }
  })],
  ['a replica that knew it', history([revoke(100), use(REPLICA, known + 50)], { faults: [flushed(known)] }), ACCEPTED],
  ['a replica that did not, but revoked it itself', history([revoke(100, { run: REPLICA }), use(REPLICA, known + 50), use(OTHER_REPLICA, known + 50)], {
    faults: [flushed(120)], samples: 50
  }), ACCEPTED],
  ['a replica that has not said so since', history([revoke(100), use(REPLICA, 20_000)], { faults: [flushed(known)], samples: 100 })],
  ['a replica that started after the loss', history([revoke(100), use(REPLICA, back), use(REPLICA, back + STALENESS + 100)], {
    faults: [flushed(known)], runs: { [REPLICA]: { from: 1300, samples: [] } }
  }), ACCEPTED],
  ['lost twice', history([revoke(100), use(STRICT, back)], { faults: [flushed(known), flushed(back - 500)] })],
  ['lost while it was revoked', history([revoke(100, { to: 200 }), use(STRICT, 5000), use(STRICT, 20_000)], { faults: [flushed(150)] }), ACCEPTED],

  ['too late', history([use(STRICT, 100, { to: 1000 })]), 'too late'],
  ['in time for a revocation', history([revoke(100, { to: 1000 })])],
  ['late because the process was paused', history([use(STRICT, 100, { to: 2500 })], { faults: [fault('process paused', 'strict', 500, 2400)] })],
  ['late because its event loop stood still', history([use(STRICT, 100, { to: 2500 })], { runs: { [STRICT]: { stalls: [{ from: 0, to: 1000 }, { from: 500, to: 2000 }] } } })],
  ['late because of another one', history([use(STRICT, 100, { to: 2500 })], { faults: [fault('process paused', 'replica', 500, 2400)] }), 'too late'],
  ['died', history([], { runs: { [STRICT]: { to: 10_000, died: 'code 1' } } }), 'died'],
  ['printed', history([], { runs: { [STRICT]: { stderr: 'unhandled' } } }), 'printed'],
  ['killed, and nobody there', history([use(OTHER_REPLICA, 100, UNREACHABLE)], { runs: { [OTHER_REPLICA]: { to: 105 } } })],
  ['nobody there', history([use(STRICT, 100, UNREACHABLE)]), 'unexpected answer'],
  ['a server error', history([use(STRICT, 100, { status: 500 })]), 'unexpected answer'],
  ['no Retry-After', history([use(STRICT, 100, { ...UNAVAILABLE, retryAfter: '' })]), 'unexpected answer'],
  ['forbidden without reason', history([revoke(100, FORBIDDEN)]), 'unexpected answer'],
  ['forbidden because the record is lost', history([revoke(100, FORBIDDEN)], { faults: [flushed(50)] })],
  ['not back in the end', history([use(STRICT, 20_000, { ...UNAVAILABLE, settled: true })]), 'not back']
]

for (const [what, history, ...violations] of HISTORIES) {
  t.test(`${violations.length === 0 ? 'good' : 'bad'}: ${what}`, async (t) => {
    t.strictSame(check(history).map(({ kind }) => kind).sort(), violations.sort())
  })
}

t.test('a plan is the seed\'s, and holds every fault before long', async (t) => {
  const planned = (seed: number) => plan(new Random(seed), ['a', 'b'], 600_000, 5000)
  t.strictSame(planned(1), planned(1))
  t.notSame(planned(1), planned(2))
  t.strictSame(new Set(planned(1).map(({ kind }) => kind)), new Set(FAULTS))
})

/** The command, with what it counts by the first words of its lines. */
async function run (...args: string[]) {
  const { stdout, code } = await promisify(execFile)(...node('--import', 'tsx', RUN, ...args), { env: bareEnv(), timeout: 100_000 })
    .then(({ stdout }) => ({ stdout, code: 0 }), (error) => error as { stdout: string, code: number })
  const counts = Object.fromEntries([...stdout.matchAll(/^ *([a-z][a-z -]*): (\d+)$/gm)].map(([, name, count]) => [name!, Number(count)]))
  const sum = (names: readonly string[]) => names.reduce((sum, name) => sum + counts[name]!, 0)
  return { stdout, code, counts, sum }
}

t.test('a short run of real processes', { timeout: 110_000 }, async (t) => {
  const { stdout, code, counts, sum } = await run('--seed', '12', '--seconds', '9')
  t.equal(code, 0, 'holds', { stdout })
  t.match(stdout, /^seed: 12\n[^]*\nseed: 12\n$/)
  t.match(counts, { seconds: 9, violations: 0 })
  t.ok(counts.requests! > 200 && counts.accepted! > 50 && counts.refused! > 50, 'enough of it', { counts })
  t.equal(sum(OUTCOMES), counts.requests, 'each request has one outcome')
  t.equal(sum(['acknowledged', 'not acknowledged']), counts.revocations)
  t.equal(sum(FAULTS), counts.faults)
  t.ok(counts.faults! > 1 && counts['tokens issued']! > 50 && counts.acknowledged! > 20 && counts['subjects ended']! > 0, 'of everything', { counts })
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
