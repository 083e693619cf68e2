import { MESSAGES } from '../processes/server.ts'
import { p99Ratio, type Propagation } from '../measures/propagation.ts'
import type { RedisBytes } from '../measures/redis-bytes.ts'
import type { RefreshCost } from '../measures/refresh.ts'
import type { RevocationSample } from '../measures/revocations.ts'
import { bytesPerEntry, type Starts } from '../measures/start.ts'
import type { Settings } from '../settings.ts'
import { median, quantile } from '../support/stats.ts'
import { figure, table, times } from './format.ts'

const unique = <T>(values: T[]) => [...new Set(values)]

export function propagationSection (found: Propagation, { propagation: { followers } }: Settings): string {
  const rows = (['idle', 'full load'] as const).flatMap((load) => MESSAGES.map((message) => {
    const delays = found.delays[load][message]
    return [
      `${load}, ${message}`, figure(quantile(delays, 0.5)), figure(quantile(delays, 0.99)), times(p99Ratio(found, load, message)),
      figure(quantile(delays, 1)), figure(delays.length)
    ]
  }))
  return [
    '## From a revocation to refusal elsewhere',
    `${followers} processes in replica mode, and ${figure(median(found.perSecond))} requests/s of all of them under full load.`,
    table(['', 'p50 ms', 'p99 ms', 'p99 ÷ PUBLISH', 'longest ms', 'samples'], rows)
  ].join('\n\n')
}

export function startSection (found: Starts): string {
  const { entries, empty, full, map } = found
  const row = (name: string, results: Starts['full']) => {
    const of = (key: 'ready' | 'complete' | 'block') => results.map((result) => result[key])
    return [name, figure(median(of('ready'))), figure(median(of('complete'))), figure(median(of('block'))), figure(quantile(of('block'), 1))]
  }
  return [
    '## Start and memory',
    table(['entries in the log', 'ready after ms', 'all held after ms', 'longest block ms', 'worst'], [row('0', empty), row(entries.toLocaleString('en'), full)]),
    `Bytes per entry: ${figure(bytesPerEntry(found))}. Of a Map<string, number>: ${figure(median(map) / entries)}.`
  ].join('\n\n')
}

export function revocationsSection (samples: RevocationSample[], { revocations: { concurrency } }: Settings): string {
  const rows = unique(samples.map(({ contender }) => contender)).flatMap((contender) =>
    unique(samples.map(({ door }) => door)).map((door) => {
      const found = samples.filter((sample) => sample.contender === contender && sample.door === door)
      return [`${contender}, ${door}`, figure(median(found.map(({ perSecond }) => perSecond))), figure(median(found.map(({ cpu }) => cpu)))]
    }))
  return [
    '## Revocations',
    `New tokens, ${concurrency} at a time, by one process. A \`DELETE\` verifies and checks the caller's own token as well.`,
    table(['', 'revocations/s', 'CPU µs/revocation'], rows)
  ].join('\n\n')
}

export function redisBytesSection ({ revocations, grown, key, log }: RedisBytes): string {
  return [
    '## Redis\' memory',
    `${figure(grown)} bytes per revocation, over ${revocations.toLocaleString('en')} of tokens whose jti is a UUID: ${figure(key)} for the key and ${figure(log)} for the log by \`MEMORY USAGE\`, the rest for what Redis keeps of keys and of when they expire.`
  ].join('\n\n')
}

export function refreshSection ({ sessions, refreshes, calls, begun, refreshed, spent }: RefreshCost): string {
  const rows = Object.entries(calls).map(([call, { cpu, redisCpu, milliseconds }]) =>
    [call, figure(cpu), figure(redisCpu), figure(median(milliseconds)), figure(quantile(milliseconds, 0.99))])
  return [
    '## Sessions that are refreshed',
    `${sessions} sessions, each refreshed ${refreshes.toLocaleString('en')} times, one call at a time. Redis is on the same machine.`,
    table(['', 'CPU µs', 'CPU µs of Redis', 'p50 ms', 'p99 ms'], rows),
    `A session takes ${figure(begun)} bytes of Redis after its login, and ${figure(refreshed)} after these refreshes, once all but its last access token have ended. ` +
    `A spent refresh token takes ${figure(spent)} by \`MEMORY USAGE\`. It is kept until the session ends.`
  ].join('\n\n')
}
