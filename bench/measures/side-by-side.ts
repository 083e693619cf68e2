import { AGAIN, CACHED, contendersWith, GET, JWT, replicaName, STRICT, type Contender } from '../contenders/contender.ts'
import { MAIN_CONNECTIONS, type Settings } from '../settings.ts'
import { inSession } from '../support/owner.ts'
import { shuffled } from '../support/stats.ts'
import type { Algorithm } from '../support/tokens.ts'
import type { Databases } from './databases.ts'
import { ask, startServers } from './servers.ts'

/** Two servers that were asked at the same time: microseconds of CPU per request of each. */
export interface Pair {
  algorithm: Algorithm
  contender: string
  base: string
  cpu: number
  baseCpu: number
}

/** What is compared with what. */
export function pairsOf (entries: number[], algorithm: Algorithm): Array<[contender: Contender, base: Contender]> {
  const all = contendersWith(entries)
  const pair = (contender: string, base: string) => [contender, base].map((wanted) => all.find(({ name }) => name === wanted)!) as [Contender, Contender]
  const replicas = [entries[0]!, entries.at(-1)!].map(replicaName)
  const compared = [AGAIN, ...replicas, ...replicas.map((name) => name + CACHED), ...algorithm === 'HS256' ? [JWT + CACHED, GET, STRICT] : []]
  return [...compared.map((contender) => pair(contender, JWT)), ...algorithm === 'HS256' ? [pair(STRICT, GET)] : []]
}

export async function measureSideBySide (settings: Settings, databases: Databases): Promise<Pair[]> {
  const samples: Pair[] = []
  for (let i = 0; i < settings.sideBySide.processes; i++) {
    for (const algorithm of ['HS256', 'ES256'] as const) {
      for (const pair of shuffled(pairsOf(settings.entries, algorithm))) samples.push(...await measurePair(algorithm, pair, settings, databases))
    }
    console.log(`side by side: ${i + 1} of ${settings.sideBySide.processes} processes of each are done`)
  }
  return samples
}

/** Both start afresh and nothing else runs beside them: who is asked more often, or has waited less, is the quicker one. */
function measurePair (algorithm: Algorithm, pair: [Contender, Contender], settings: Settings, databases: Databases): Promise<Pair[]> {
  return inSession(async (session) => {
    const [contender, base] = pair
    const servers = await startServers(session, pair, algorithm, settings, databases)
    const samples: Pair[] = []
    const { warmUp, rounds, seconds } = settings.sideBySide
    await ask(servers, servers.all, MAIN_CONNECTIONS, warmUp)
    for (let round = 0; round < rounds; round++) {
      // Each of them is as often the one that is asked first.
      const asked = round % 2 === 0 ? servers.all : servers.all.toReversed()
      const { used } = await ask(servers, asked, MAIN_CONNECTIONS, seconds)
      const [cpu, baseCpu] = (round % 2 === 0 ? used : used.toReversed()).map(({ cpu }) => cpu) as [number, number]
      samples.push({ algorithm, contender: contender.name, base: base.name, cpu, baseCpu })
    }
    return samples
  })
}
