import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Address } from './member.ts'

/** Far beyond every deadline and every pause: whoever waits so long waits for ever. */
const PATIENCE = 15_000

export interface Answer {
  /** 0: the connection failed. */
  status: number
  body: Record<string, unknown>
  retryAfter?: string
  error?: string
}

export async function ask ({ port, agent }: Address, method: string, path: string, token?: string): Promise<Answer> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  try {
    const asked = request({ host: '127.0.0.1', port, method, path, headers, agent, signal: AbortSignal.timeout(PATIENCE) }).end()
    const [response] = await once(asked, 'response') as [IncomingMessage]
    const body = JSON.parse(await text(response)) as Record<string, unknown>
    const retryAfter = response.headers['retry-after']
    return { status: response.statusCode!, body, ...(retryAfter !== undefined && { retryAfter }) }
  } catch (error) {
    return { status: 0, body: {}, error: String(error) }
  }
}
