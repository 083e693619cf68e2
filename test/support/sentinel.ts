import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from './ports.ts'
import { binary, eventually, startRedis, type Owner, type RedisServer } from './redis.ts'
import { MASTER, startReplica } from './replicas.ts'

export interface Sentinels {
  name: string
  /** As a client takes them. */
  sentinels: Array<{ host: string, port: number }>
  /** The first one is the master. */
  servers: RedisServer[]
  /** The port of the master, as the first of them has it. */
  master (): Promise<number>
}

const HOST = '127.0.0.1'
const NAME = 'revocations'

/** A master, two replicas, and as many Sentinels, of which most must agree. */
export async function startSentinels (t: Owner, count = 1): Promise<Sentinels> {
  const master = await startRedis(t, { args: MASTER })
  const replicas = await Promise.all([startReplica(t, master), startReplica(t, master)])
  const sentinels: Sentinels['sentinels'] = []
  for (let i = 0; i < count; i++) sentinels.push({ host: HOST, port: await startSentinel(t, master, Math.floor(count / 2) + 1) })

  const asked = async (port: number, ...command: [string, ...string[]]) => {
    const client = new Redis(port, HOST, { protocol: 2, enableReadyCheck: false, retryStrategy: () => null })
    client.on('error', () => {})
    try {
      return await client.call('SENTINEL', ...command)
    } finally {
      client.disconnect()
    }
  }
  for (const { port } of sentinels) {
    await eventually('Sentinel knows the others', async () => {
      const known = await Promise.all([asked(port, 'replicas', NAME), asked(port, 'sentinels', NAME)]).catch(() => [[], []]) as [unknown[], unknown[]]
      return known[0].length === replicas.length && known[1].length === count - 1
    })
  }
  return {
    name: NAME,
    sentinels,
    servers: [master, ...replicas],
    master: async () => Number((await asked(sentinels[0]!.port, 'get-master-addr-by-name', NAME) as string[])[1])
  }
}

/** Its port. */
async function startSentinel (t: Owner, master: RedisServer, quorum: number): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'sentinel-'))
  for (let tries = 1; ; tries++) {
    const port = await freePort()
    // It writes what it learns into this file. It asks each second whether a server is there: one that it waits for no longer
    // than that is down as soon as an answer is late, the new master among them.
    const file = join(dir, `${port}.conf`)
    await writeFile(file, [
      `port ${port}`, `bind ${HOST}`, `dir ${dir}`, `sentinel monitor ${NAME} ${master.host} ${master.port} ${quorum}`,
      `sentinel down-after-milliseconds ${NAME} 2000`, `sentinel failover-timeout ${NAME} 5000`, ''
    ].join('\n'))
    const child = spawn(binary(), [file, '--sentinel'], { stdio: 'ignore' })
    const exited = once(child, 'exit')
    t.after(async () => {
      child.kill('SIGKILL')
      await exited
      await rm(dir, { recursive: true, force: true })
    })
    if (await answers(child, port) || tries === 10) return port
  }
}

async function answers (child: ChildProcess, port: number): Promise<boolean> {
  const client = new Redis(port, HOST, { protocol: 2, enableReadyCheck: false })
  client.on('error', () => {})
  try {
    await eventually('Sentinel answers', async () => child.exitCode !== null || await client.info('server').then((info) => info.includes(`process_id:${child.pid}`), () => false))
    return child.exitCode === null
  } finally {
    client.disconnect()
  }
}
