import { JWT } from '../contenders/contender.ts'
import { MAIN_CONNECTIONS } from '../settings.ts'
import { figure, table, times } from './format.ts'
import type { Cell, Matrix } from './results.ts'

const HS256: Cell = { algorithm: 'HS256', connections: MAIN_CONNECTIONS }
const ES256: Cell = { algorithm: 'ES256', connections: MAIN_CONNECTIONS }

/** The table that is printed: everything with HS256, and CPU with ES256. */
export function mainTable (matrix: Matrix): string {
  const connections = matrix.connections('HS256')
  const each = (contender: string, of: 'perSecond' | 'p99') => connections
    .map((connections) => figure(matrix.median(contender, of, { algorithm: 'HS256', connections }))).join(' / ')
  const list = connections.join(' / ')
  return table([
    'contender', `requests/s at ${list} connections`, `p99 in ms at ${list}`,
    `CPU µs/request at ${MAIN_CONNECTIONS}`, 'to JWT alone, side by side', 'commands/request', 'ES256: CPU µs/request', 'to JWT alone, side by side'
  ], matrix.contenders.map((contender) => [
    contender,
    each(contender, 'perSecond'),
    each(contender, 'p99'),
    figure(matrix.median(contender, 'cpu', HS256)),
    times(matrix.ratio(contender, JWT, 'HS256')),
    matrix.median(contender, 'commands', HS256).toFixed(3),
    figure(matrix.median(contender, 'cpu', ES256)),
    times(matrix.ratio(contender, JWT, 'ES256'))
  ]))
}

/** CPU and commands at every number of connections. */
export function byConnections (matrix: Matrix): string {
  const cells = matrix.connections('HS256').map((connections): Cell => ({ algorithm: 'HS256', connections }))
  return table(
    ['contender', ...cells.map(({ connections }) => `CPU µs/request (to JWT alone) at ${connections}`), 'commands/request', 'commands/s besides'],
    matrix.contenders.map((contender) => [
      contender,
      ...cells.map((cell) => `${figure(matrix.median(contender, 'cpu', cell))} (${times(matrix.cpuRatio(contender, JWT, cell))})`),
      cells.map((cell) => matrix.median(contender, 'commands', cell).toFixed(3)).join(' / '),
      figure(matrix.background(contender))
    ])
  )
}
