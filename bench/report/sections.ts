import { contendersWith, JWT } from '../contenders/contender.ts'
import { median, quantile } from '../support/stats.ts'
import { pairsOf } from '../measures/side-by-side.ts'
import { MAIN_CONNECTIONS } from '../settings.ts'
import { figure, megabytes, table, times } from './format.ts'
import { directRatio, ratiosOf, type Results } from './results.ts'

const unique = <T>(values: T[]) => [...new Set(values)]

export function sideBySideSection ({ sideBySide, settings }: Results): string {
  const { processes, warmUp, rounds, seconds } = settings.sideBySide
  const quartiles = (ratios: number[]) => ratios.length === 0 ? '' : `${times(median(ratios))} (${times(quantile(ratios, 0.25))} to ${times(quantile(ratios, 0.75))})`
  return [
    '## Side by side',
    `What the machine does besides changes the cost of a request by more than most of what is compared here, from one second to the next. So each contender is also asked at the same time as what it is compared with, over ${MAIN_CONNECTIONS} connections to each: whatever slows the one slows the other. Both are processes that have just started, and have been asked for ${figure(warmUp)} s before; no other server runs beside them. Each pair ${processes} times, because V8 does not optimise two processes alike, with ${rounds} rounds of ${figure(seconds)} s each. CPU per request to that of the other one, median and quartiles of the rounds. "Again" is a second process of the same: by so much two that are equal differ.`,
    table(['contender', 'compared with', 'HS256', 'ES256'], pairsOf(settings.entries, 'HS256').map(([{ name: contender }, { name: base }]) => [
      contender, base, quartiles(ratiosOf(sideBySide, contender, base, 'HS256')), quartiles(ratiosOf(sideBySide, contender, base, 'ES256'))
    ]))
  ].join('\n\n')
}

export function directSection ({ direct, settings }: Results): string {
  const of = (contender: string) => direct.filter((sample) => sample.contender === contender)
  return [
    '## Within the process',
    'Without clients: Node.js\' own request and response objects on a socket that swallows what is written, 64 requests at a time, given to the application\'s request listener, all applications in one process that asks one after the other; Redis is the real one. Bytes are what V8\'s heap grows by over 640 requests in which nothing was collected (young generation of 64 MB).',
    table(['contender', 'CPU µs/request', 'to JWT alone', 'bytes/request'], contendersWith(settings.entries).map(({ name: contender }) => [
      contender,
      figure(median(of(contender).map(({ cpu }) => cpu))),
      times(directRatio(direct, contender, JWT)),
      figure(median(of(contender).map(({ bytes }) => bytes)))
    ]))
  ].join('\n\n')
}

export function revocationsSection ({ revocations, settings: { revocations: { concurrency } } }: Results): string {
  const rows = unique(revocations.map(({ contender }) => contender)).flatMap((contender) =>
    unique(revocations.map(({ door }) => door)).map((door) => {
      const samples = revocations.filter((sample) => sample.contender === contender && sample.door === door)
      return [`${contender}, ${door}`, figure(median(samples.map(({ perSecond }) => perSecond))), figure(median(samples.map(({ cpu }) => cpu)))]
    }))
  return [
    '## Revocations',
    `New tokens, ${concurrency} at a time, by one process. A \`DELETE\` verifies and checks the caller's own token as well.`,
    table(['', 'revocations/s', 'CPU µs/revocation'], rows)
  ].join('\n\n')
}

export function propagationSection ({ propagation, settings: { propagation: { followers, revocations } }, machine: { cores } }: Results): string {
  return [
    '## From a revocation to refusal elsewhere',
    `${revocations} revocations in one process, ${followers} other processes in replica mode: from the moment the revocation was answered to the moment at which \`isRevoked()\` says true in another process, asked in its 'revoked' event, by the clock that all processes share. PUBLISH is what the same machine takes for a bare message of Redis, sent between the revocations to a plain subscriber in the same processes, which only notes that it came. Below 0: before the answer. Afterwards real requests with some of the tokens were refused by each process. Under full load the load generator asks all ${followers} at once, as fast as they answer: ${followers + 3} busy processes on ${cores} cores, where most of the time is waiting for a core.`,
    table(['', 'p50 in ms', 'p99 in ms', 'longest in ms', 'samples', 'requests/s meanwhile'], propagation.map(({ what, load, p50, p99, max, samples, perSecond }) =>
      [`${load}, ${what}`, figure(p50), figure(p99), figure(max), figure(samples), figure(perSecond)]))
  ].join('\n\n')
}

export function memorySection ({ memory }: Results): string {
  const groups = unique(memory.map(({ entries, container }) => `${entries} ${container}`))
  return [
    '## Memory',
    'UUIDs, each container in a fresh process. Bytes are what `heapUsed` and `external` grew by after a collection, names included where the container keeps them. Inserting: the slowest single call, collections that happened in it included. Minor and major: the longest collection while inserting and while short-lived objects were made afterwards. Full: a forced collection of the full container at rest.',
    table(['entries, container', 'bytes/entry', 'in all', 'rss', 'slowest insert ms', 'longest minor ms', 'longest major ms', 'full ms', 'µs/insert'], groups.map((group) => {
      const samples = memory.filter(({ entries, container }) => `${entries} ${container}` === group)
      const { entries, container } = samples[0]!
      const of = (key: 'bytes' | 'rss' | 'slowestInsert' | 'longestMinor' | 'longestMajor' | 'fullCollection' | 'seconds') => median(samples.map((sample) => sample[key]))
      return [
        `${entries.toLocaleString('en')}, ${container}`, figure(of('bytes') / entries), megabytes(of('bytes')), megabytes(of('rss')),
        figure(of('slowestInsert')), figure(of('longestMinor')), figure(of('longestMajor')), figure(of('fullCollection')), figure(of('seconds') / entries * 1e6)
      ]
    }))
  ].join('\n\n')
}

export function startUpSection ({ startUp }: Results): string {
  return [
    '## Start',
    'A process in replica mode, from registering to `app.ready()` and to when it held every entry, each time a new one, in which another application in strict mode has started before, so that loading modules does not count; and one second after that. The longest block of the event loop as `monitorEventLoopDelay` with a resolution of 1 ms saw it, and, in other starts, as the longest time between two `setImmediate`, and the most CPU that the process used between two.',
    table(['entries in the log', 'ready after ms', 'all held after ms', 'longest block ms, timer', 'worst', 'longest block ms, setImmediate', 'worst', 'longest in ms of CPU'], unique(startUp.map(({ entries }) => entries)).map((entries) => {
      const plain = startUp.filter((sample) => sample.entries === entries && !sample.immediates)
      const watched = startUp.filter((sample) => sample.entries === entries && sample.immediates)
      const gaps = watched.map(({ gap }) => gap)
      const delays = plain.map(({ delay }) => delay)
      return [
        entries.toLocaleString('en'), figure(median(plain.map(({ ready }) => ready))), figure(median(plain.map(({ complete }) => complete))),
        figure(median(delays)), figure(Math.max(...delays)), figure(median(gaps)), figure(Math.max(...gaps)), figure(median(watched.map(({ gapCpu }) => gapCpu)))
      ]
    }))
  ].join('\n\n')
}

export function redisBytesSection ({ redisBytes: { revocations, grown, key, log } }: Results): string {
  return [
    '## Redis\' memory',
    `${figure(grown)} bytes per revocation, over ${revocations.toLocaleString('en')} of tokens whose jti is a UUID: ${figure(key)} for the key and ${figure(log)} for the log by \`MEMORY USAGE\`, the rest for what Redis keeps of keys and of when they expire.`
  ].join('\n\n')
}
