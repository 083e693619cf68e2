import type { RedisOptions } from 'ioredis'
import { FST_JWT_REVOCATION_BAD_OPTION } from '../../errors.ts'
import type { RedisClient } from '../../types.ts'
import { isKnown, misshapen, misshapenInUrl } from './client-options.ts'
import { isRedisClient } from './connection.ts'

export const MEMORY = 'memory'

/** What option `redis` can be: a URL that ioredis takes, its options, a client, or the word for no Redis. */
export type RedisOption = string | RedisOptions | RedisClient

export const WANTED = 'a URL (redis, rediss, valkey or valkeys), ioredis options, ' +
  "an ioredis-shaped client (with call and pipeline), or 'memory'"

const GIVE_URL = 'give the URL itself as option "redis"'
const GIVE_CLUSTER = 'a cluster needs a client: give option "redis" new Cluster(nodes) of ioredis'
const GIVE_CLIENT = 'give the client itself as option "redis"'
const TOP_LEVEL = 'ioredis takes host, port, path, username, password, db and tls side by side'

/** By the names that other libraries use: what ioredis takes. */
const CURES: Record<string, string> = {
  url: GIVE_URL,
  uri: GIVE_URL,
  href: GIVE_URL,
  connectionString: GIVE_URL,
  socket: TOP_LEVEL,
  connection: TOP_LEVEL,
  redis: TOP_LEVEL,
  options: TOP_LEVEL,
  hostname: 'ioredis calls it host',
  server: 'ioredis calls it host',
  user: 'ioredis calls it username',
  pass: 'ioredis calls it password',
  auth: 'ioredis calls it password',
  auth_pass: 'ioredis calls it password',
  credentials: 'ioredis takes username and password',
  database: 'ioredis calls it db',
  ssl: 'ioredis calls it tls, an object',
  useTLS: 'ioredis calls it tls, an object',
  hosts: GIVE_CLUSTER,
  nodes: GIVE_CLUSTER,
  cluster: GIVE_CLUSTER,
  addresses: GIVE_CLUSTER,
  rootNodes: GIVE_CLUSTER,
  startupNodes: GIVE_CLUSTER,
  clusterNodes: GIVE_CLUSTER,
  redisOptions: GIVE_CLUSTER,
  scaleReads: GIVE_CLUSTER,
  sentinelRootNodes: 'ioredis takes sentinels: [{ host, port }] and name',
  client: GIVE_CLIENT,
  token: 'the REST interface of Upstash will not do: give its redis:// URL'
}

const bad = (sentence: string) => new FST_JWT_REVOCATION_BAD_OPTION(`option "redis" ${sentence}`)

/** Quotes a property's name if it is harmless: it may be any text. */
const named = (name: string) => /^\w{1,40}$/.test(name) ? `"${name}"` : 'of another name'

/**
 * Reads option `redis`; undefined where `value` has none of its forms. No message holds a value, which may be
 * a password.
 * @throws FST_JWT_REVOCATION_BAD_OPTION where the message can say what to change
 */
export function readRedis (value: unknown): RedisOption | undefined {
  if (typeof value === 'string') return value === MEMORY ? value : readUrl(value)
  if (typeof value === 'function') {
    throw bad('is a function or a class: give it a client, such as new Redis(url) of ioredis')
  }
  if (typeof value !== 'object' || value === null) return undefined
  refuseOthers(value)
  if (isRedisClient(value)) return openClient(value)
  return isPlain(value) ? readOptions(value as Record<string, unknown>) : undefined
}

/** Checks a client that the option gives, or `app.redis`. */
export function openClient (client: RedisClient): RedisClient {
  if ((client as { status?: unknown }).status !== 'end') return client
  throw bad('is a client that was closed: give it one that is open, and close it after the application')
}

/** Whether an object is a plain one of any realm: a test framework may have a realm of its own. */
function isPlain (value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return prototype !== null && Object.getPrototypeOf(prototype) === null
}

/**
 * Gives the URL with `redis` for `valkey`, which means the same; undefined where it has another form.
 */
function readUrl (value: string): string | undefined {
  if (value === '') {
    throw bad('is an empty string (is a variable of the environment empty?): ' +
      `set it to a URL, or to '${MEMORY}' to mean that`)
  }
  const scheme = /^(?:redis|valkey)(s?):\/\//i.exec(value)
  if (scheme === null || !URL.canParse(value)) return undefined
  const { hostname, pathname, hash, searchParams, username, password } = new URL(value)
  if (hostname === '') throw bad('is a URL without a host')
  if (!isEncoded(username) || !isEncoded(password)) {
    throw bad("is a URL whose username or password is not percent-encoded: '%' is written %25 there")
  }
  if (!/^\/?\d*$/.test(pathname) || hash !== '') {
    throw bad('is a URL with more than a number after its host: only the database goes there, ' +
      "and a password has '#', '/' and '?' percent-encoded")
  }
  for (const [name, given] of searchParams) {
    if (Object.hasOwn(CURES, name)) refuseUnknown(name)
    // The message leaves out the name, which may be the rest of a password.
    if (!isKnown(name)) {
      throw bad("is a URL with a '?' and what ioredis does not know behind it: " +
        "correct its name, and a password has '?' percent-encoded")
    }
    refuseMisshapen(misshapenInUrl(name, given))
  }
  return `redis${scheme[1]!.toLowerCase()}://${value.slice(scheme[0].length)}`
}

/** Whether ioredis can decode a part of a URL. It throws where it can not. */
function isEncoded (part: string): boolean {
  try {
    decodeURIComponent(part)
    return true
  } catch {
    return false
  }
}

function readOptions (options: Record<string, unknown>): RedisOptions {
  for (const name of Object.keys(options)) {
    refuseUnknown(name)
    refuseMisshapen(misshapen(name as keyof RedisOptions, options[name]))
  }
  const { host, path, sentinels } = options
  for (const [name, given] of Object.entries({ host, path })) {
    if (typeof given === 'string' && /:\/\/|@/.test(given)) throw bad(`has a URL as its ${name}: ${GIVE_URL}`)
  }
  const places = { host, path, sentinels }
  const isEmpty = (given: unknown) => given == null || given === ''
  const empty = Object.entries(places).find(([name, given]) => Object.hasOwn(options, name) && isEmpty(given))
  if (empty !== undefined && Object.values(places).every(isEmpty)) {
    throw bad(`has a ${empty[0]} that is empty (is a variable of the environment not set?): ` +
      'without one ioredis connects to localhost')
  }
  if (sentinels != null && !options.name) {
    throw bad('has sentinels, and no name of the master that they watch: give it as name')
  }
  return options
}

function refuseMisshapen (sentence: string | undefined) {
  if (sentence !== undefined) throw bad(sentence)
}

function refuseUnknown (name: string) {
  if (isKnown(name)) return
  const cure = Object.hasOwn(CURES, name) ? CURES[name]! : 'correct its name, or leave it out'
  throw bad(`has a property ${named(name)}, which ioredis does not know and would ignore: ${cure}`)
}

/**
 * Rejects clients of other libraries. It knows them by their methods: a bundler may have renamed their
 * classes.
 */
function refuseOthers (value: object) {
  const methods = value as Record<string, unknown>
  const has = (...names: string[]) => names.every((name) => typeof methods[name] === 'function')
  const use = 'give it a client of ioredis or iovalkey, or a URL, and keep that one for yourself'
  if (has('then')) throw bad('is a promise: await it first')
  if (has('sendCommand') && 'isOpen' in value) {
    throw bad(`is a client of node-redis (package "redis"): ${use}`)
  }
  if (has('internal_send_command')) throw bad(`is a client of node-redis 3 (package "redis"): ${use}`)
  if (has('customCommand')) throw bad(`is a client of Valkey GLIDE: ${use}`)
  if (has('createScript', 'pipeline') && !has('call')) {
    throw bad('is a client of @upstash/redis, which has no connection: ' +
      'give it the redis:// URL of that database')
  }
  if (value instanceof URL) throw bad('is a URL object: give it its href')
  if (Array.isArray(value)) throw bad(`is an array: ${GIVE_CLUSTER}`)
}
