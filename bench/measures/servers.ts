import type { Contender } from '../contenders/contender.ts'
import type { LoadHandlers } from '../processes/load.ts'
import type { ServerHandlers, Usage } from '../processes/server.ts'
import type { Settings } from '../settings.ts'
import { startChild, type Child } from '../support/child.ts'
import type { Session } from '../support/owner.ts'
import { keysFor, tokensOf, type Algorithm, type Keys } from '../support/tokens.ts'
import type { Databases } from './databases.ts'
import { tryOut } from './trial.ts'

export interface Server {
  contender: Contender
  port: number
  usage: () => Promise<Usage>
}

export interface Servers {
  generator: Child<LoadHandlers>
  all: Server[]
}

/** After a run: what is still on its way arrives. */
const SETTLING = 30

/** Contenders as processes of their own, tried out and warm, and what asks them. */
export async function startServers (session: Session, contenders: Contender[], algorithm: Algorithm, settings: Settings, databases: Databases): Promise<Servers> {
  const keys = await keysFor(algorithm)
  const generator = startChild<LoadHandlers>(session, 'load')
  await generator.call('tokens', (await tokensOf(keys, settings.tokens)).map(({ token }) => token))
  const all: Server[] = []
  for (const contender of contenders) all.push(await startServer(session, contender, keys, databases))
  for (const { port } of all) await generator.call('run', { ports: [port], ...settings.warmUp })
  return { generator, all }
}

async function startServer (session: Session, contender: Contender, keys: Keys, databases: Databases): Promise<Server> {
  const { database, seeded } = databases.of(contender)
  const server = startChild<ServerHandlers>(session, 'server')
  const port = await server.call('start', { contender, keys, redisUrl: database.url })
  await tryOut(contender, port, keys, database, seeded)
  return { contender, port, usage: () => server.call('usage') }
}

/** Asks some servers at the same time, each over so many connections; gives what each used per request, in microseconds of CPU, and its requests. */
export async function ask ({ generator }: Servers, asked: Server[], connections: number, seconds: number) {
  const load = { ports: asked.map(({ port }) => port), connections: connections * asked.length }
  const before = await Promise.all(asked.map(({ usage }) => usage()))
  const result = await generator.call('run', { ...load, seconds })
  await new Promise((resolve) => setTimeout(resolve, SETTLING))
  const after = await Promise.all(asked.map(({ usage }) => usage()))
  const used = after.map(({ cpu, handled }, i) => {
    const requests = handled - before[i]!.handled
    return { requests, cpu: (cpu - before[i]!.cpu) / requests }
  })
  return { result, used }
}
