import type { Socket } from 'node:net'
import type { Clock, Milliseconds } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import { adviceOn, chainOf, isOfRedis, withoutArguments } from './advice.ts'

/** Why a client has no answer. The message names the server, and what its socket or its TLS said. */
export class NoConnection extends Error {}

interface Address {
  host?: unknown
  port?: unknown
}

interface SeenOptions extends Address {
  path?: unknown
  name?: unknown
  tls?: unknown
  sentinels?: Address[] | null
}

/** What ioredis and iovalkey show of a client. A TLS socket says whether it still shakes hands. */
interface Seen {
  status?: string | undefined
  /** `firstError` is the error of an attempt to connect. The client never clears it. */
  connector?: { firstError?: Error }
  stream?: Socket & { secureConnecting?: boolean } | null | undefined
  options?: SeenOptions | undefined
  /** Only a cluster's client has the next two. */
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

/** For this long the error of one attempt to connect explains the next attempt, too. */
const REMEMBERED: Milliseconds = 5000
/** How many bytes a TLS alert has. */
const ALERT = 7
/** The parsers of ioredis and iovalkey say this of bytes that are not RESP. */
const OTHER_PROTOCOL = /^Protocol error|^Unknown RESP type/
/** An error of OpenSSL, with a file and a line that help no reader. */
const OF_OPENSSL = /^[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]*):[\s\S]*$/

const NO_TLS = /^(?:EPROTO$|ERR_SSL_(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL))/

const UNKNOWN = 'what failed is in the fields of this line'

interface Listened { on (event: 'error', listener: (error: Error) => void): unknown }

/** The sockets that already have our listener. */
const heard = new WeakSet<object>()
const failures = new WeakMap<object, { error: Failure, age: () => Milliseconds }>()

/** Remembers the errors of a client that we made. A client that was given to us gets no listener (P7). */
export function rememberErrors (client: Listened, clock: Clock) {
  client.on('error', (error) => {
    const at = clock.monotonic()
    failures.set(client, { error, age: () => clock.monotonic() - at })
    // A TLS socket that we leave while it refuses a certificate fails twice, and the client listens once.
    const { stream } = client as Seen
    if (stream == null || heard.has(stream)) return
    heard.add(stream)
    stream.on('error', () => {})
  })
}

/** The address of a client's server; undefined where the client does not show it. */
export function placeOf (client: RedisClient): string | undefined {
  const { options, startupNodes } = client as Seen
  return options === undefined && startupNodes === undefined ? undefined : addressOf(client as Seen)
}

/** The sentence that the log has about the loss of a store. */
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
  if (shown !== undefined || seen.status === 'ready') return shown
  return noConnection(seen, 'no node of the cluster can be reached')
}

function noConnection (seen: Seen, said: string | undefined): NoConnection | undefined {
  return said === undefined ? undefined : new NoConnection(`${addressOf(seen)}: ${withoutUrl(said, seen)}`)
}

function recent (client: object): Failure | undefined {
  const last = failures.get(client)
  if (last === undefined || (client as Seen).status === 'ready') return undefined
  const isRecent = last.age() < REMEMBERED
  return isRecent && last.error.code !== 'ETIMEDOUT' ? last.error : undefined
}

function saidBy (error: Failure, seen: Seen): string {
  const { code = '', message, errors } = error
  // Node.js gives `errors` and no message where it tried several addresses of one name.
  const all = message || (errors ?? []).map(({ message }) => message).join(', ') || code
  const what = all.replace(OF_OPENSSL, '$1').replace(/\s+/g, ' ').trim()
  const cure = CURES[code] ?? curesByKind(error, seen)
  return cure === undefined ? what : `${what} (${cure})`
}

function curesByKind ({ code = '', message }: Failure, seen: Seen): string | undefined {
  if (OTHER_PROTOCOL.test(message)) return 'what listens there does not speak the protocol of Redis'
  if (NO_TLS.test(code)) return SPEAKS_TLS
  return /^(?:ECONNRESET|EPIPE)$/.test(code) ? tlsQuestion(seen) : undefined
}

/** Asks what may be wrong where the other side sent at most a TLS alert. */
function tlsQuestion ({ stream, options }: Seen): string | undefined {
  if (stream == null || stream.bytesRead > ALERT) return undefined
  if (!options?.tls) return WANTS_TLS
  return stream.secureConnecting ? SPEAKS_TLS : WANTS_CERTIFICATE
}

/** What the client's state shows where the client reported no error. */
function stateOf ({ status, stream, options }: Seen): string | undefined {
  if (status === 'end') return 'the client was closed'
  if (stream == null) return options?.sentinels ? 'no Sentinel has named the master' : undefined
  if (stream.errored) return saidBy(stream.errored, { stream, options })
  if (status === 'ready') return undefined
  const question = tlsQuestion({ stream, options })
  const hint = question ? ` (${question})` : ''
  if (stream.destroyed) return `the other side closes the connection${hint}`
  if (stream.connecting) return `no answer to the attempt to connect (${UNREACHABLE})`
  if (stream.secureConnecting) {
    return `the connection is open, and the other side says nothing to TLS (${SPEAKS_TLS})`
  }
  const said = stream.bytesRead === 0 ? 'nothing' : 'too little'
  return `the connection is open, and the other side says ${said}${options?.tls ? '' : hint}`
}

function addressOf ({ options = {}, startupNodes }: Seen): string {
  const { sentinels, name, path } = options
  if (startupNodes !== undefined) return `cluster of ${startupNodes.map(nodeAddress).join(', ')}`
  if (sentinels) return `"${part(name, 'name')}" of Sentinel ${sentinels.map(nodeAddress).join(', ')}`
  return path ? withoutUrl(String(path), { options }) : nodeAddress(options)
}

/** The address of a node, without the rest of its URL, which may hold a password. */
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

/** Hides a URL that was given as a host: the socket repeats it, and it may hold a password. */
function withoutUrl (text: string, { options = {} }: Seen): string {
  const { host, path } = options
  return [host, path].filter(isUrl).reduce((rest, url) => rest.replaceAll(url, '(a URL as host)'), text)
}
