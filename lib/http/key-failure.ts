const OF_SYSTEM = /^(?:E(?!RR_)[A-Z_]+|UND_ERR_\w+)$/
/** What `fetch` throws, what ends a wait, and what JSON that is none throws. */
const NAMES = ['AbortError', 'TimeoutError', 'SyntaxError']

/**
 * Whether a verification failed because nobody could read the keys now: the network failed, or whoever has
 * the keys did. Then nothing is known of the token. What else a secret function throws is about the token.
 */
export function isOfKeys (error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause) {
    const { name, message, code, status, statusCode, response } = one as Error & {
      code?: unknown, status?: unknown, statusCode?: unknown, response?: { status?: unknown }
    }
    if (NAMES.includes(name) || message === 'fetch failed' || OF_SYSTEM.test(String(code))) return true
    if ([status, statusCode, response?.status].some((status) => Number(status) >= 500)) return true
  }
  return false
}

/** Whether `secret`, `trusted` or `formatUser` threw, and not `@fastify/jwt` or fast-jwt. */
export function isOfApplication (error: unknown): boolean {
  return !/^FA?ST_JWT_/.test(String((Object(error) as { code?: unknown }).code))
}
