import { MAIN_CONNECTIONS } from '../settings.ts'
import { figure } from './format.ts'
import { byConnections, mainTable } from './main-table.ts'
import { Matrix, type Results, type Section } from './results.ts'
import { directSection, memorySection, propagationSection, redisBytesSection, revocationsSection, sideBySideSection, startUpSection } from './sections.ts'
import { targetsOf, targetTable } from './targets.ts'

/** In the order in which they are measured. */
export const SECTIONS: Record<Section, (results: Results) => string> = {
  requests: requestsSection,
  sideBySide: sideBySideSection,
  direct: directSection,
  revocations: revocationsSection,
  propagation: propagationSection,
  memory: memorySection,
  startUp: startUpSection,
  redisBytes: redisBytesSection
}

/** results.md. */
export function markdown (results: Results): string {
  const { settings } = results
  return [
    '# Benchmark',
    ...settings.quick ? ['This was a quick run (`npm run bench -- --quick`): few and short rounds, smaller numbers of entries. It shows that the benchmark works, and little more.'] : [],
    machine(results),
    method(results),
    ...Object.values(SECTIONS).map((section) => section(results)),
    '## Targets',
    `At ${MAIN_CONNECTIONS} connections with HS256, where nothing else is said; ratios of CPU are those measured side by side.`,
    targetTable(targetsOf(results))
  ].join('\n\n') + '\n'
}

function requestsSection (results: Results): string {
  const matrix = new Matrix(results)
  return ['## Requests', '![CPU per request](results.svg)', mainTable(matrix), byConnections(matrix)].join('\n\n')
}

function machine ({ date, machine: { cpu, cores, memory, os, versions } }: Results): string {
  return [
    `- ${date.slice(0, 10)}`,
    `- ${cpu}, ${cores} cores, ${memory} GB of memory, ${os}`,
    `- ${Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(', ')}`
  ].join('\n')
}

function method ({ settings: { tokens, hs256, es256, leadIn } }: Results): string {
  const loads = [...hs256.map((load) => ({ algorithm: 'HS256', ...load })), ...es256.map((load) => ({ algorithm: 'ES256', ...load }))]
    .map(({ algorithm, connections, rounds, seconds }) => `${algorithm} with ${connections} connections: ${rounds} rounds of ${figure(seconds)} s`)
  return `All contenders run at once as processes of their own, each with a Redis of its own on the same machine, and in each round the load generator (autocannon, a further process) asks one after the other, in a random order, as fast as they answer (${loads.join('; ')}), each time for ${figure(leadIn)} s before it counts, since V8 drops the code of a process that has had nothing to do for a while; requests draw at random from ${tokens.toLocaleString('en')} valid tokens, more than \`verify.cache: true\` holds, and each contender has been seen to accept a good token and refuse a forged and a revoked one. ` +
    'CPU is `process.cpuUsage()` of the server\'s process before and after, by the requests that its route handled; commands are what `INFO commandstats` of its Redis counted in the meantime for checks, and what a replica\'s own reading of the log adds is counted apart. ' +
    'Figures are medians of the rounds, and ratios, but for those side by side, medians of the ratios within each round.'
}
