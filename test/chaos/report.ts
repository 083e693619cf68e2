import { KINDS, type Verdict, type Violation } from './checker.ts'
import { overlap, outcomeOf, OUTCOMES, type Fault, type History, type Request } from './history.ts'
import { FAULTS } from './plan.ts'
import type { Told } from './tellings.ts'
import type { Milliseconds } from '../../lib/time.ts'

const SHOWN = 5

/** What is printed of a run: one count a line, then the first violations of each kind with what happened around them. */
export function report (history: History, { violations, knownTwice }: Verdict): string[] {
  const { requests, faults, tokens, runs } = history
  const outcomes = requests.map(outcomeOf)
  const count = <T>(all: T[], holds: (one: T) => boolean) => all.filter(holds).length
  const revocations = requests.filter(({ target }) => target !== undefined)
  const tellings = runs.flatMap((run) => run.tellings)
  const acknowledged = revocations.filter((request) => outcomeOf(request) === 'accepted')
  return [
    `requests: ${requests.length}`,
    ...OUTCOMES.map((outcome) => `  ${outcome}: ${count(outcomes, (one) => one === outcome)}`),
    `tokens issued: ${tokens.length}`,
    `revocations: ${revocations.length}`,
    `  acknowledged: ${acknowledged.length}`,
    `  not acknowledged: ${revocations.length - acknowledged.length}`,
    `subjects ended: ${count(acknowledged, ({ target }) => target!.kind !== 'token')}`,
    `tellings: ${tellings.length}`,
    `  of tokens: ${count(tellings, ({ jti }) => jti !== undefined)}`,
    `  of subjects: ${count(tellings, ({ jti }) => jti === undefined)}`,
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
  const said = ({ at, run, jti, sub, cutoff, revokedAt }: Told) =>
    `${moment(at)}  ${history.runs[run]!.member}, run ${run}: ${JSON.stringify({ jti, sub, cutoff, revokedAt })}`
  const issue = token && history.requests[token.issue]!
  const moments = [request?.from, revocation?.from, before?.at, telling?.at].filter((one) => one !== undefined)
  const around = { from: Math.min(...moments, run.to) - 2000, to: request?.to ?? telling?.at ?? run.to }
  const sub = token?.sub ?? telling?.sub ?? (request?.target !== undefined && 'sub' in request.target ? request.target.sub : undefined)
  const about = history.requests.filter((one) => one !== revocation && one !== request && one.target !== undefined && one.from <= around.to &&
    ('jti' in one.target ? one.target.jti === (token?.jti ?? telling?.jti) : one.target.sub === sub))
  const clock = run.ahead === undefined ? '' : `, its clock ${run.ahead.by / 1000} s ahead until ${moment(run.ahead.until)}`
  return [
    `${kind.toUpperCase()}: ${run.member}, a ${run.mode}, ran ${interval(run)}${clock}`,
    ...run.died === undefined ? [] : [`  ended by itself: ${run.died}`],
    ...run.stderr === '' || kind !== 'printed' ? [] : [`  printed: ${run.stderr}`],
    ...token === undefined ? [] : [`  token ${token.jti} of ${token.sub}, iat ${token.iat}, exp ${token.exp}, asked for ${token.lifetime} s`],
    ...issue === undefined ? [] : [`  issued   ${asked(issue)}`],
    ...revocation === undefined ? [] : [`  revoked  ${asked(revocation)}`],
    ...about.map((one) => `  also     ${asked(one)}`),
    ...request === undefined || request === issue ? [] : [`  then     ${asked(request)}`],
    ...before === undefined ? [] : [`  told     ${said(before)}`],
    ...telling === undefined ? [] : [`  told     ${said(telling)}`],
    ...history.faults.filter((fault) => overlap(fault, around)).map((fault) => `  fault    ${wholly(fault)}`)
  ]
}
