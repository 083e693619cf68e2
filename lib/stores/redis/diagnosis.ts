import type { Socket } from 'node:net'
import { systemClock, type Milliseconds } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import { adviceOn, chainOf, isOfRedis, withoutArguments } from './advice.ts'

/** Why a client has no answer to give: the message names the server, and what its socket or its TLS said. */
export class NoConnection extends Error {}

interface Address {
  host?: unknown
  port?: unknown
}

/** What ioredis and iovalkey keep of a client. Its TLS socket says whether it still shakes hands. */
interface Seen {
  status?: string | undefined
  /** It keeps the error of an attempt that failed, for good. */
  connector?: { firstError?: Error }
  stream?: Socket & { secureConnecting?: boolean } | null | undefined
  options?: Address & { path?: unknown, name?: unknown, tls?: unknown, sentinels?: Address[] | null } | undefined
  /** Of a cluster. */
  startupNodes?: unknown[]
  nodes? (): Seen[]
}

type Failure = Error & { code?: string, errors?: Error[] }

const TRUST = 'is not trusted: give its authority in tls: { ca }'
const SPEAKS_TLS = 'does the port speak TLS? If not, use redis://'
const WANTS_TLS = 'does the port speak TLS? Then use rediss://, or option tls'
const WANTS_CERTIFICATE = 'does it ask for a certificate? Then set tls: { cert, key }'
const UNREACHABLE = 'is the address right, and does a firewall let it pass?'

const CURES: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there: check host and port',
  ENOENT: 'there is no such socket',
  ENOTFOUND: 'the name is not known: check the host',
  EAI_AGAIN: 'the name server does not answer',
  EHOSTUNREACH: UNREACHABLE,
  ENETUNREACH: UNREACHABLE,
  DEPTH_ZERO_SELF_SIGNED_CERT: `its certificate ${TRUST}`,
  SELF_SIGNED_CERT_IN_CHAIN: `its certificate ${TRUST}`,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: `its certificate ${TRUST}`,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: `its certificate ${TRUST}`,
  CERT_SIGNATURE_FAILURE: `its certificate ${TRUST}`,
  ERR_TLS_CERT_ALTNAME_INVALID: 'connect by a name that its certificate has, or set tls: { servername }',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: WANTS_CERTIFICATE
}

/** An attempt to connect takes its time, and what the one before it said still holds. */
const REMEMBERED: Milliseconds = 5000
/** As much as a TLS alert has. */
const ALERT = 7
/** The parsers of ioredis and iovalkey. */
const OTHER_PROTOCOL = /^Protocol error|^Unknown RESP type/
/** Its file and line are of no use to anybody. */
const OF_OPENSSL = /^[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]*):[\s\S]*$/

const UNKNOWN = 'what failed is in the fields of this line'

/** The sockets that are listened to. */
const heard = new WeakSet<object>()
const failures = new WeakMap<object, { error: Failure, at: Milliseconds }>()

/** For clients of our own. A client that was given gets no listener: of that one only what it shows is known (P7). */
export function rememberErrors (client: { on (event: 'error', listener: (error: Error) => void): unknown }) {
  client.on('error', (error) => {
    failures.set(client, { error, at: systemClock.monotonic() })
    // A TLS socket that is left while it refuses a certificate fails twice, and the client listens once.
    const { stream } = client as Seen
    if (stream == null || heard.has(stream)) return
    heard.add(stream)
    stream.on('error', () => {})
  })
}

/** Where a client's server is, or undefined where the client does not show it. */
export function placeOf (client: RedisClient): string | undefined {
  const { options, startupNodes } = client as Seen
  return options === undefined && startupNodes === undefined ? undefined : addressOf(client as Seen)
}

/** What to tell of the loss of a store. */
export function whyLost (error: unknown, place = 'Redis'): string {
  const advice = adviceOn(error)
  if (advice !== '') return `${place}: ${advice}`
  return chainOf(error).find((one) => one instanceof NoConnection)?.message ?? `${place}: ${UNKNOWN}`
}

/** Why a command of a node's client fails; undefined where the client does not show it. Adds no listener. */
export function whyNodeFailed (client: RedisClient, error?: Failure): Error | undefined {
  const seen = client as Seen
  const failure = error && OTHER_PROTOCOL.test(error.message) ? error : seen.stream?.errored ?? recent(client)
  if (failure && isOfRedis(failure)) {
    return Object.assign(new Error(withoutArguments(failure.message)), { name: failure.name })
  }
  return noConnection(seen, failure ? saidBy(failure, seen) : withAttempt(stateOf(seen), seen))
}

/** Adds to `said` how an earlier attempt to connect failed. The client does not show when that was. */
function withAttempt (said: string | undefined, seen: Seen): string | undefined {
  const before = seen.connector?.firstError
  if (said === undefined || before === undefined) return said
  return `${said}; an attempt before failed: ${saidBy(before, { options: seen.options })}`
}

/** Says that a client's connection is well and the answer is missing; undefined where it is not well. */
export function whySilent (client: RedisClient): Error | undefined {
  const seen = client as Seen
  const isOpen = seen.status === 'ready'
  return noConnection(seen, isOpen ? 'the connection is open, and Redis does not answer' : undefined)
}

/** Why a command of a cluster's client fails, by what its nodes show: the client itself shows little. */
export function whyClusterFailed (client: RedisClient): Error | undefined {
  const seen = client as Seen
  const ofNodes = (seen.nodes?.() ?? []).map((node) => noConnection(node, stateOf(node)))
  const shown = ofNodes.find((one) => one !== undefined)
  return shown ?? noConnection(seen, seen.status === 'ready' ? undefined : 'no node of the cluster can be reached')
}

function noConnection (seen: Seen, said: string | undefined): NoConnection | undefined {
  return said === undefined ? undefined : new NoConnection(`${addressOf(seen)}: ${withoutUrl(said, seen)}`)
}

function recent (client: object): Failure | undefined {
  const last = failures.get(client)
  const isRecent = last !== undefined && (client as Seen).status !== 'ready' && systemClock.monotonic() - last.at < REMEMBERED
  return isRecent && last.error.code !== 'ETIMEDOUT' ? last.error : undefined
}

function saidBy (error: Failure, seen: Seen): string {
  const { code = '', message, errors } = error
  // Several addresses of one name were tried.
  const all = message || (errors ?? []).map(({ message }) => message).join(', ') || code
  const what = all.replace(OF_OPENSSL, '$1').replace(/\s+/g, ' ').trim()
  const cure = CURES[code] ?? curesByKind(error, seen)
  return cure === undefined ? what : `${what} (${cure})`
}

function curesByKind ({ code = '', message }: Failure, seen: Seen): string | undefined {
  if (OTHER_PROTOCOL.test(message)) return 'what listens there does not speak the protocol of Redis'
  if (/^(?:EPROTO$|ERR_SSL_(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL))/.test(code)) return SPEAKS_TLS
  return /^(?:ECONNRESET|EPIPE)$/.test(code) ? tlsQuestion(seen) : undefined
}

/** What may be wrong where the other side has said no more than why it hangs up. */
function tlsQuestion ({ stream, options }: Seen): string | undefined {
  if (stream == null || stream.bytesRead > ALERT) return undefined
  if (!options?.tls) return WANTS_TLS
  return stream.secureConnecting ? SPEAKS_TLS : WANTS_CERTIFICATE
}

/** What can be seen where nobody reported an error. */
function stateOf ({ status, stream, options }: Seen): string | undefined {
  if (status === 'end') return 'the client was closed'
  if (stream == null) return options?.sentinels ? 'no Sentinel has named the master' : undefined
  if (stream.errored) return saidBy(stream.errored, { stream, options })
  if (status === 'ready') return undefined
  const question = tlsQuestion({ stream, options })
  if (stream.destroyed) return `the other side closes the connection${question ? ` (${question})` : ''}`
  if (stream.connecting) return `no answer to the attempt to connect (${UNREACHABLE})`
  if (stream.secureConnecting) return `the connection is open, and the other side says nothing to TLS (${SPEAKS_TLS})`
  return `the connection is open, and the other side says ${stream.bytesRead === 0 ? 'nothing' : 'too little'}${question && !options?.tls ? ` (${question})` : ''}`
}

function addressOf ({ options = {}, startupNodes }: Seen): string {
  const { sentinels, name, path } = options
  if (startupNodes !== undefined) return `cluster of ${startupNodes.map(nodeAddress).join(', ')}`
  if (sentinels) return `"${part(name, 'name')}" of Sentinel ${sentinels.map(nodeAddress).join(', ')}`
  return path ? withoutUrl(String(path), { options }) : nodeAddress(options)
}

/** A URL may hold a password. */
function nodeAddress (node: unknown): string {
  if (typeof node === 'number') return `127.0.0.1:${node}`
  if (typeof node === 'string') {
    const url = URL.canParse(node) ? new URL(node) : { hostname: '', port: '' }
    return `${url.hostname || '?'}:${url.port || 6379}`
  }
  const { host = 'localhost', port = 6379 } = node as Address
  return `${part(host, 'host')}:${part(port, 'port')}`
}

const part = (value: unknown, what: string) => isUrl(value) ? `(a URL as ${what})` : String(value)

const isUrl = (value: unknown): value is string => typeof value === 'string' && /:\/\/|@/.test(value)

/** The socket repeats what it was given as a host. */
function withoutUrl (text: string, { options = {} }: Seen): string {
  const { host, path } = options
  return [host, path].filter(isUrl).reduce((rest, url) => rest.replaceAll(url, '(a URL as host)'), text)
}
