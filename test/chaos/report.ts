import { KINDS, type Violation } from './checker.ts'
import { overlap, outcomeOf, OUTCOMES, type Fault, type History, type Milliseconds, type Request } from './history.ts'
import { FAULTS } from './plan.ts'

const SHOWN = 5

/** What is printed of a run: one count a line, then the first violations of each kind with what happened around them. */
export function report (history: History, violations: Violation[]): string[] {
  const { requests, faults, tokens } = history
  const outcomes = requests.map(outcomeOf)
  const count = <T>(all: T[], holds: (one: T) => boolean) => all.filter(holds).length
  const revocations = requests.filter(({ target }) => target !== undefined)
  const acknowledged = revocations.filter((request) => outcomeOf(request) === 'accepted')
  return [
    `requests: ${requests.length}`,
    ...OUTCOMES.map((outcome) => `  ${outcome}: ${count(outcomes, (one) => one === outcome)}`),
    `tokens issued: ${tokens.length}`,
    `revocations: ${revocations.length}`,
    `  acknowledged: ${acknowledged.length}`,
    `  not acknowledged: ${revocations.length - acknowledged.length}`,
    `subjects ended: ${count(acknowledged, ({ target }) => target!.kind !== 'token')}`,
    `faults: ${faults.length}`,
    ...FAULTS.map((kind) => `  ${kind}: ${count(faults, (fault) => fault.kind === kind)}`),
    `violations: ${violations.length}`,
    ...KINDS.map((kind) => `  ${kind}: ${count(violations, (violation) => violation.kind === kind)}`),
    ...KINDS.flatMap((kind) => violations.filter((violation) => violation.kind === kind).slice(0, SHOWN).flatMap((violation) => ['', ...told(history, violation)]))
  ]
}

function told (history: History, { kind, request, revocation, run, token }: Violation): string[] {
  const moment = (at: Milliseconds) => `${((at - history.started) / 1000).toFixed(3)} s`
  const interval = ({ from, to }: { from: Milliseconds, to: Milliseconds }) => `${moment(from)} to ${moment(to)}`
  const asked = (request: Request) => {
    const { member } = history.runs[request.run]!
    const { what, status, code, error, cutoff, target } = request
    const about = target === undefined ? '' : ` (${Object.values(target).join(' ')})`
    return `${interval(request)}  ${what}${about} on ${member}, run ${request.run}: ${[status, code, error, cutoff !== undefined && `cutoff ${cutoff}`].filter(Boolean).join(' ')}`
  }
  const wholly = (fault: Fault) => `${interval(fault)}  ${fault.kind} (${fault.on})`
  const issue = token && history.requests[token.issue]!
  const from = Math.min(...[request, revocation].map((one) => one?.from ?? run.to))
  const around = { from: from - 2000, to: request?.to ?? run.to }
  const about = token && history.requests.filter((one) => one !== revocation && one.target !== undefined && one.from <= around.to &&
    ('jti' in one.target ? one.target.jti === token.jti : one.target.sub === token.sub))
  return [
    `${kind.toUpperCase()}: ${run.member}, a ${run.mode}, ran ${interval(run)}`,
    ...run.died === undefined ? [] : [`  ended by itself: ${run.died}`],
    ...run.stderr === '' || request !== undefined ? [] : [`  printed: ${run.stderr}`],
    ...token === undefined ? [] : [`  token ${token.jti} of ${token.sub}, iat ${token.iat}, exp ${token.exp}`],
    ...issue === undefined ? [] : [`  issued   ${asked(issue)}`],
    ...revocation === undefined ? [] : [`  revoked  ${asked(revocation)}`],
    ...(about ?? []).map((one) => `  also     ${asked(one)}`),
    ...request === undefined || request === issue ? [] : [`  then     ${asked(request)}`],
    ...history.faults.filter((fault) => overlap(fault, around)).map((fault) => `  fault    ${wholly(fault)}`)
  ]
}
