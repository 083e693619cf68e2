import { createRequire } from 'node:module'
import { cpus, release, totalmem, type } from 'node:os'
import type { Redis } from 'ioredis'

export interface Machine {
  cpu: string
  cores: number
  /** GB. */
  memory: number
  os: string
  versions: Record<string, string>
}

const PACKAGES = ['fastify', '@fastify/jwt', 'ioredis']

export async function describeMachine (redis: Redis): Promise<Machine> {
  const [, redisVersion] = /^redis_version:(.+)\r$/m.exec(await redis.info('server'))!
  const all = cpus()
  return {
    cpu: all[0]!.model.trim(),
    cores: all.length,
    memory: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release()}`,
    versions: {
      node: process.versions.node,
      redis: redisVersion!,
      'fastify-jwt-revocation': versionOf('../../package.json'),
      ...Object.fromEntries(PACKAGES.map((name) => [name, versionOf(`../../node_modules/${name}/package.json`)]))
    }
  }
}

/** By path: not every package exports its package.json. */
function versionOf (manifest: string): string {
  return createRequire(import.meta.url)(manifest).version
}
