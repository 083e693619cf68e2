import type { RedisOptions } from 'ioredis'

/** Which values one option of ioredis takes, and the same in words. */
interface Shape {
  takes: (value: unknown) => boolean
  wanted: string
  /** Whether ioredis reads it rightly from a URL, where every value is text. */
  inUrl?: true
}

const isText = (value: unknown) => typeof value === 'string'
const isFunction = (value: unknown) => typeof value === 'function'
const isPort = (value: unknown) => isDigits(value) && Number(value) < 65536

function isDigits (value: unknown) {
  return (typeof value === 'number' || typeof value === 'string') && /^\d{1,9}$/.test(String(value))
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isAmount (value: unknown) {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function isScripts (value: unknown) {
  return isObject(value) && Object.values(value).every((script) => isObject(script) && isText(script.lua))
}

function isSentinel (value: unknown) {
  if (!isObject(value) || !isText(value.host) || value.host === '') return false
  return value.port === undefined || isPort(value.port)
}

const TEXT: Shape = { takes: isText, wanted: 'a string', inUrl: true }
const PLACE: Shape = { takes: isText, wanted: 'a string' }
const FLAG: Shape = { takes: (value) => typeof value === 'boolean', wanted: 'true or false' }
const NUMBER: Shape = { takes: isAmount, wanted: 'a number, 0 or more' }
const FUNCTION: Shape = { takes: isFunction, wanted: 'a function' }
const TLS: Shape = {
  takes: (value) => isObject(value) || isText(value) || typeof value === 'boolean',
  wanted: 'an object of TLS options'
}
const NAT: Shape = {
  takes: (value) => isObject(value) || isFunction(value),
  wanted: 'an object or a function'
}
const SLAVES: Shape = {
  takes: (value) => typeof value === 'object' || isFunction(value),
  wanted: 'an object, an array or a function'
}

/** The compiler demands a shape for each option that ioredis documents. */
const SHAPES: Record<keyof RedisOptions, Shape> = {
  Connector: { takes: isFunction, wanted: 'a class' },
  autoPipeliningIgnoredCommands: {
    takes: (value) => Array.isArray(value) && value.every(isText),
    wanted: 'an array of strings'
  },
  autoResendUnfulfilledCommands: FLAG,
  autoResubscribe: FLAG,
  blockingTimeout: NUMBER,
  blockingTimeoutGrace: NUMBER,
  clientInfoTag: TEXT,
  commandQueue: FLAG,
  commandTimeout: NUMBER,
  connectTimeout: NUMBER,
  connectionName: TEXT,
  db: { takes: isDigits, wanted: 'a whole number from 0', inUrl: true },
  disableClientInfo: FLAG,
  disconnectTimeout: NUMBER,
  enableAutoPipelining: FLAG,
  enableOfflineQueue: FLAG,
  enableReadyCheck: FLAG,
  enableTLSForSentinelMode: FLAG,
  failoverDetector: FLAG,
  family: {
    takes: (value) => [0, 4, 6, 'IPv4', 'IPv6'].includes(value as number | string),
    wanted: '0, 4 or 6',
    inUrl: true
  },
  himportFieldsets: { takes: Array.isArray, wanted: 'an array' },
  host: PLACE,
  keepAlive: NUMBER,
  keyPrefix: TEXT,
  lazyConnect: FLAG,
  maxLoadingRetryTime: NUMBER,
  maxRetriesPerRequest: NUMBER,
  monitor: FLAG,
  name: TEXT,
  natMap: NAT,
  noDelay: FLAG,
  offlineQueue: FLAG,
  password: TEXT,
  path: PLACE,
  port: { takes: isPort, wanted: 'a whole number up to 65535' },
  preferredSlaves: SLAVES,
  protocol: { takes: (value) => value === 2 || value === 3, wanted: '2 or 3' },
  readOnly: FLAG,
  reconnectOnError: FUNCTION,
  replyMapping: PLACE,
  retryStrategy: FUNCTION,
  role: TEXT,
  scripts: { takes: isScripts, wanted: 'an object of scripts, each { lua }' },
  sentinelCommandTimeout: NUMBER,
  sentinelMaxConnections: NUMBER,
  sentinelPassword: TEXT,
  sentinelReconnectStrategy: FUNCTION,
  sentinelRetryStrategy: FUNCTION,
  sentinelTLS: TLS,
  sentinelUsername: TEXT,
  sentinels: {
    takes: (value) => Array.isArray(value) && value.length > 0 && value.every(isSentinel),
    wanted: 'an array of at least one { host, port }'
  },
  showFriendlyErrorStack: FLAG,
  socketTimeout: NUMBER,
  stringNumbers: FLAG,
  tls: TLS,
  updateSentinels: FLAG,
  username: TEXT
}

/**
 * For these, ioredis does not take null to mean that the option is absent. For every other option it does.
 */
const NEVER_NULL: ReadonlySet<string> = new Set<keyof RedisOptions>([
  'autoPipeliningIgnoredCommands', 'himportFieldsets', 'port', 'socketTimeout'
])

export function isKnown (name: string): name is keyof RedisOptions {
  return Object.hasOwn(SHAPES, name)
}

/**
 * Says what an option of ioredis must be and what it is; undefined where it is right. The sentence leaves out
 * the value, which may hold a password.
 */
export function misshapen (name: keyof RedisOptions, value: unknown): string | undefined {
  const { takes, wanted } = SHAPES[name]
  if (value === undefined || (value === null && !NEVER_NULL.has(name)) || takes(value)) return undefined
  return `has a ${name} that must be ${wanted}; got ${kindOf(value)}`
}

/** As `misshapen`, for an option behind the `?` of a URL. */
export function misshapenInUrl (name: keyof RedisOptions, value: string): string | undefined {
  if (SHAPES[name].inUrl === undefined) {
    return `is a URL with ${name} behind a '?', where ioredis takes it for text or not at all: ` +
      'give ioredis options in place of the URL'
  }
  return misshapen(name, name === 'family' ? Number(value) : value)
}

function kindOf (value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  switch (typeof value) {
    case 'object': return value === null ? 'null' : 'an object'
    case 'number': return Number.isFinite(value) ? `a ${value < 0 ? 'negative ' : ''}number` : String(value)
    case 'boolean': return String(value)
    default: return `a ${typeof value}`
  }
}
