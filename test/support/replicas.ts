import { randomUUID } from 'node:crypto'
import { eventually, startRedis, type Owner, type RedisOptions, type RedisServer } from './redis.ts'

/** A master needs this, or its first replica waits for others that may come. */
export const MASTER = ['--repl-diskless-sync-delay', '0']

/** A replica that is in step. It may be sent elsewhere than to the master's own port. */
export async function startReplica (t: Owner, master: RedisServer, { port, ...options }: RedisOptions & { port?: number } = {}): Promise<RedisServer> {
  const replica = await startRedis(t, { ...options, args: ['--replicaof', `${master.host} ${port ?? master.port}`, ...options.args ?? []] })
  await inStep(master, replica)
  return replica
}

/** A replica is online before it is sent anything: only what it holds tells. */
export async function inStep (master: RedisServer, replica: RedisServer): Promise<void> {
  const key = `in step ${randomUUID()}`
  await master.cli('SET', key, 'x', 'EX', 60)
  await eventually('the replica is in step', async () => await replica.cli('EXISTS', key).catch(() => '') === '1')
}
