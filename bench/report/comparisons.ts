import { AGAIN, ALONE } from '../contenders/contender.ts'
import { costsOf, isSettled, ratioOf, type Sample } from '../measures/comparison.ts'
import type { Compared, Group } from '../measures/in-process.ts'
import { CONNECTIONS, type SocketLoad, type SocketSample, type Sockets } from '../measures/sockets.ts'
import { TOLERANCE, type Settings } from '../settings.ts'
import { median, quantile } from '../support/stats.ts'
import { figure, table, times } from './format.ts'

export function inProcessSection ({ title, tokens }: Group, { samples }: Compared): string {
  return [
    `## Within the process: ${title}`,
    `${tokens.toLocaleString('en')} tokens. ${controlOf(samples)}`,
    table(HEAD, rowsOf(samples).map((row) => costs(samples, row)))
  ].join('\n\n')
}

export function socketsSection (load: SocketLoad, { samples, generations, rates }: Sockets, { sockets: { rounds, seconds } }: Settings): string {
  const how = load === 'steady'
    ? `At a third of what ${ALONE.name} can do: ${figure(median(rates))} requests/s, in some processes ${figure(Math.min(...rates))}, in others up to ${figure(Math.max(...rates))}.`
    : `${CONNECTIONS} connections, each of which asks again as soon as it is answered.`
  return [
    `## Over sockets: ${load}`,
    `${how} ${generations} processes for each row, with ${rounds} rounds of ${figure(seconds)} s. ${controlOf(samples)}`,
    table([...HEAD, 'requests/s', 'p50 ms', 'p99 ms', 'commands/request', 'requests/turn'], rowsOf(samples).map((row) => {
      const of = (key: 'perSecond' | 'p50' | 'p99' | 'commands' | 'perTurn') =>
        median((samples as SocketSample[]).filter((sample) => sample.row === row).map((sample) => sample[key]))
      return [
        ...costs(samples, row), figure(of('perSecond')), figure(of('p50')), figure(of('p99')), of('commands').toFixed(3), figure(of('perTurn'))
      ]
    }))
  ].join('\n\n')
}

const HEAD = ['', 'CPU µs/request', 'lower quartile', `÷ ${ALONE.name}`, 'by lower quartiles']

function costs (samples: Sample[], row: string): string[] {
  const values = [...costsOf(samples, row).values()]
  const ratio = ratioOf(samples, row)!
  return [row, figure(median(values)), figure(quantile(values, 0.25)), times(ratio.median), times(ratio.quiet)]
}

const rowsOf = (samples: Sample[]) => [...new Set(samples.map(({ row }) => row))]

function controlOf (samples: Sample[]): string {
  const control = ratioOf(samples, AGAIN.name)!
  const rounds = costsOf(samples, AGAIN.name).size
  const found = `The control after ${rounds} rounds: ${times(control.median)}, by lower quartiles ${times(control.quiet)}`
  return isSettled(samples) ? `${found}.` : `${found}: **further than ${TOLERANCE} from 1**, and so may be the rows.`
}
