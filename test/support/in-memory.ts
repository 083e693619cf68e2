import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import { revocationPlugin } from '../../lib/index.ts'

/** Two applications without Redis, which have the logger that the argument names. */
const LOGGERS: Record<string, object> = { none: {}, silent: { logger: { level: 'silent' } }, pino: { logger: true } }

for (let i = 0; i < 2; i++) {
  const app = Fastify(LOGGERS[process.argv[2]!])
  await app.register(fastifyJwt, { secret: 'a secret of a test', sign: { expiresIn: '15m' } })
  await app.register(revocationPlugin)
  await app.close()
}
