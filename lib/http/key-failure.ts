/** Of the system, of undici, and of jose where a key set can not be read. */
const CODES = /^(?:E(?!RR_)[A-Z_]+|UND_ERR_\w+|ERR_JWKS_TIMEOUT|ERR_JOSE_GENERIC)$/
/**
 * What `fetch` throws, what ends a wait, what JSON that is none throws, and what jwks-rsa throws where it can
 * not or does not ask. Anybody can use up its limit, with tokens of unknown keys.
 */
const NAMES = ['AbortError', 'TimeoutError', 'SyntaxError', 'JwksError', 'JwksRateLimitError']
/** Request Timeout, Too Early, Too Many Requests. */
const LATER = [408, 425, 429]

/**
 * Whether a verification failed because nobody could read the keys now: the network failed, or whoever has
 * the keys did. Then nothing is known of the token. What else a secret function throws is about the token.
 */
export function isOfKeys (error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause) {
    const { name, message, code, status, statusCode, response } = one as Error & {
      code?: unknown, status?: unknown, statusCode?: unknown, response?: { status?: unknown }
    }
    if (NAMES.includes(name) || message === 'fetch failed' || CODES.test(String(code))) return true
    if ([status, statusCode, response?.status].map(Number).some(isPassing)) return true
  }
  return false
}

/** Whether the same request may be answered otherwise later. */
function isPassing (status: number): boolean {
  return status >= 500 || LATER.includes(status)
}

/** Whether `secret`, `trusted` or `formatUser` threw, and not `@fastify/jwt` or fast-jwt. */
export function isOfApplication (error: unknown): boolean {
  return !/^FA?ST_JWT_/.test(String((Object(error) as { code?: unknown }).code))
}
