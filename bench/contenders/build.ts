import type { Build, Running } from './contender.ts'
import { buildExpress } from './express.ts'
import { buildFastify } from './fastify.ts'

export function build (what: Build): Promise<Running> {
  return what.contender.kind === 'express' ? buildExpress(what) : buildFastify(what)
}
