import { KINDS, type Verdict, type Violation } from './checker.ts'
import { overlap, outcomeOf, OUTCOMES, type Fault, type History, type Request } from './history.ts'
import { FAULTS } from './plan.ts'
import { namesIn } from './revocations.ts'
import type { Told } from './tellings.ts'
import type { Milliseconds } from '../../lib/time.ts'

const SHOWN = 5
const REFRESHED = ['accepted', 'invalid', 'unavailable', 'unreachable'] as const

/** What is printed of a run: one count a line, then the first violations of each kind with what happened around them. */
export function report (history: History, { violations, knownTwice, derived }: Verdict): string[] {
  const { requests, faults, tokens, runs } = history
  const outcomes = requests.map(outcomeOf)
  const count = <T>(all: T[], holds: (one: T) => boolean) => all.filter(holds).length
  const revocations = requests.filter(({ target }) => target !== undefined)
  const tellings = runs.flatMap((run) => run.tellings)
  const acknowledged = revocations.filter((request) => outcomeOf(request) === 'accepted')
  const ended = (...kinds: string[]) => count(acknowledged, ({ target }) => kinds.includes(target!.kind))
  const toldOf = (name: 'sub' | 'sid' | 'tenant') => count(tellings, (telling) => telling.jti === undefined && telling[name] !== undefined)
  const endOf = new Map(acknowledged.map(({ target, to }) => [target!.kind === 'session' ? target!.sid : undefined, to]))
  const refreshes = requests.filter(({ refresh }) => refresh !== undefined)
  const successors = new Set(refreshes.flatMap(({ gave }) => gave === undefined ? [] : [gave.refreshToken]))
  return [
    `requests: ${requests.length}`,
    ...OUTCOMES.map((outcome) => `  ${outcome}: ${count(outcomes, (one) => one === outcome)}`),
    `tokens issued: ${tokens.length}`,
    `  elsewhere: ${count(tokens, ({ isForeign }) => isForeign === true)}`,
    `  of sessions: ${count(tokens, ({ sid }) => sid !== undefined)}`,
    `  of sessions that had ended: ${count(tokens, ({ sid, issue }) => sid !== undefined && endOf.get(sid)! < requests[issue]!.from)}`,
    `  of tenants: ${count(tokens, ({ tenant }) => tenant !== undefined)}`,
    `revocations: ${revocations.length}`,
    `  acknowledged: ${acknowledged.length}`,
    `  not acknowledged: ${revocations.length - acknowledged.length}`,
    `subjects ended: ${ended('subject', 'others')}`,
    `sessions ended: ${ended('session')}`,
    `tenants ended: ${ended('claim')}`,
    `sessions with refresh tokens: ${count(requests, ({ gave, refresh }) => gave !== undefined && refresh === undefined)}`,
    `refreshes: ${refreshes.length}`,
    ...REFRESHED.map((outcome) => `  refreshes ${outcome}: ${count(refreshes, (one) => outcomeOf(one) === outcome)}`),
    `  the successor again: ${refreshes.filter(({ gave }) => gave !== undefined).length - successors.size}`,
    `ended by reuse: ${count(derived, ({ what, status }) => what === 'POST /refresh' && status === 200)}`,
    `ended by a token or as one of others: ${count(derived, ({ what, status }) => what !== 'POST /refresh' && status === 200)}`,
    `tellings: ${tellings.length}`,
    `  told of tokens: ${count(tellings, ({ jti }) => jti !== undefined)}`,
    `  told of subjects: ${toldOf('sub')}`,
    `  told of sessions: ${toldOf('sid')}`,
    `  told of tenants: ${toldOf('tenant')}`,
    `  twice as is known: ${knownTwice}`,
    `processes: ${runs.length}`,
    `  with a clock ahead: ${count(runs, ({ ahead }) => ahead !== undefined)}`,
    `faults: ${faults.length}`,
    ...FAULTS.map((kind) => `  ${kind}: ${count(faults, (fault) => fault.kind === kind)}`),
    `violations: ${violations.length}`,
    ...KINDS.map((kind) => `  ${kind}: ${count(violations, (violation) => violation.kind === kind)}`),
    ...KINDS.flatMap((kind) => violations.filter((violation) => violation.kind === kind).slice(0, SHOWN).flatMap((violation) => ['', ...told(history, violation)]))
  ]
}

function told (history: History, { kind, request, revocation, run, token, telling, before }: Violation): string[] {
  const moment = (at: Milliseconds) => `${((at - history.started) / 1000).toFixed(3)} s`
  const interval = ({ from, to }: { from: Milliseconds, to: Milliseconds }) => `${moment(from)} to ${moment(to)}`
  const asked = (request: Request) => {
    const { member } = history.runs[request.run]!
    const { what, status, code, error, cutoff, target } = request
    const about = target === undefined ? '' : ` (${Object.values(target).join(' ')})`
    return `${interval(request)}  ${what}${about} on ${member}, run ${request.run}: ${[status, code, error, cutoff !== undefined && `cutoff ${cutoff}`].filter(Boolean).join(' ')}`
  }
  const wholly = (fault: Fault) => {
    const details = [fault.on, fault.what, fault.copied && `copied ${interval(fault.copied)}`].filter(Boolean)
    return `${interval(fault)}  ${fault.kind} (${details.join(', ')})`
  }
  const said = ({ at, run, jti, sub, sid, tenant, cutoff, revokedAt }: Told) =>
    `${moment(at)}  ${history.runs[run]!.member}, run ${run}: ${JSON.stringify({ jti, sub, sid, tenant, cutoff, revokedAt })}`
  const issue = token && history.requests[token.issue]!
  const moments = [request?.from, revocation?.from, before?.at, telling?.at].filter((one) => one !== undefined)
  const around = { from: Math.min(...moments, run.to) - 2000, to: request?.to ?? telling?.at ?? run.to }
  const names = new Set([token, telling, request?.target].flatMap((one) => one === undefined ? [] : namesIn(one)))
  const about = history.requests.filter((one) => one !== revocation && one !== request && one.target !== undefined && one.from <= around.to &&
    namesIn(one.target).some((name) => names.has(name)))
  const clock = run.ahead === undefined ? '' : `, its clock ${run.ahead.by / 1000} s ahead until ${moment(run.ahead.until)}`
  return [
    `${kind.toUpperCase()}: ${run.member}, a ${run.mode}, ran ${interval(run)}${clock}`,
    ...run.died === undefined ? [] : [`  ended by itself: ${run.died}`],
    ...run.stderr === '' || kind !== 'printed' ? [] : [`  printed: ${run.stderr}`],
    ...token === undefined ? [] : [`  token ${namesIn(token).join(', ')}${token.isForeign ? ', signed elsewhere' : ''}, iat ${token.iat}, exp ${token.exp}, asked for ${token.lifetime} s`],
    ...issue === undefined ? [] : [`  issued   ${asked(issue)}`],
    ...revocation === undefined ? [] : [`  revoked  ${asked(revocation)}`],
    ...about.map((one) => `  also     ${asked(one)}`),
    ...request === undefined || request === issue ? [] : [`  then     ${asked(request)}`],
    ...before === undefined ? [] : [`  told     ${said(before)}`],
    ...telling === undefined ? [] : [`  told     ${said(telling)}`],
    ...history.faults.filter((fault) => overlap(fault, around)).map((fault) => `  fault    ${wholly(fault)}`)
  ]
}
