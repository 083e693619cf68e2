import { GROUPS, measureInProcess, type Compared } from './measures/in-process.ts'
import { measurePropagation, type Propagation } from './measures/propagation.ts'
import { measureRedisBytes, type RedisBytes } from './measures/redis-bytes.ts'
import { measureRefresh, type RefreshCost } from './measures/refresh.ts'
import { measureRevocations, type RevocationSample } from './measures/revocations.ts'
import { measureSockets, type SocketLoad, type Sockets } from './measures/sockets.ts'
import { measureStarts, type Starts } from './measures/start.ts'
import { inProcessSection, socketsSection } from './report/comparisons.ts'
import {
  propagationSection, redisBytesSection, refreshSection, revocationsSection, startSection
} from './report/others.ts'
import type { Settings } from './settings.ts'
import type { Bench } from './support/bench.ts'

export interface Section<T> {
  /** What is saved before the end is what an interrupted run leaves. */
  measure: (bench: Bench, save: (found: T) => unknown) => Promise<T>
  /** Its part of results.md. */
  render: (found: T, settings: Settings) => string
}

type Group = keyof typeof GROUPS

export type Found = Record<Group, Compared> & Record<SocketLoad, Sockets> & {
  revocations: RevocationSample[]
  propagation: Propagation
  start: Starts
  redisBytes: RedisBytes
  refresh: RefreshCost
}
export type SectionName = keyof Found

const inProcess = (group: Group): Section<Compared> => ({
  measure: (bench) => measureInProcess(bench, GROUPS[group]),
  render: (found) => inProcessSection(GROUPS[group], found)
})

const sockets = (load: SocketLoad): Section<Sockets> => ({
  measure: (bench, save) => measureSockets(bench, load, save),
  render: (found, settings) => socketsSection(load, found, settings)
})

/** In the order in which they are measured and told. */
export const SECTIONS: { [S in SectionName]: Section<Found[S]> } = {
  hs256: inProcess('hs256'),
  cache: inProcess('cache'),
  es256: inProcess('es256'),
  tokens: inProcess('tokens'),
  forged: inProcess('forged'),
  steady: sockets('steady'),
  saturated: sockets('saturated'),
  propagation: { measure: measurePropagation, render: propagationSection },
  start: { measure: measureStarts, render: startSection },
  revocations: { measure: measureRevocations, render: revocationsSection },
  redisBytes: { measure: measureRedisBytes, render: redisBytesSection },
  refresh: { measure: measureRefresh, render: refreshSection }
}
