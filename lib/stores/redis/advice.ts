/** By the first word of an error: what Redis means, and what to do. */
const ADVICE: Record<string, string> = {
  NOAUTH: 'it asks for a password: set it in option "redis"',
  WRONGPASS: 'it knows no such user, or another password: correct option "redis"',
  NOPERM: 'its user may not do this: give it the commands and keys that docs/operations.md lists',
  WRONGTYPE:
    'a key of the plugin is in somebody else\'s use: set option "keyPrefix" to one that nobody else has',
  OOM: 'it has reached maxmemory: raise that, or free memory; evicting keys would revive revoked tokens',
  READONLY:
    'it is a read-only replica: connect to the master, through Sentinel or a Cluster client where it moves',
  LOADING: 'it is reading its data from disk: wait',
  BUSY: 'a script of somebody keeps it busy: see SLOWLOG, or end it with SCRIPT KILL',
  MISCONF: 'it can not write its snapshot to disk and refuses writes: see its log, and the space on its disk',
  NOREPLICAS: 'it has fewer replicas in step than its min-replicas-to-write: see INFO replication',
  MASTERDOWN: 'it is a replica that has lost its master: wait for the failover, or see INFO replication',
  CLUSTERDOWN: 'its cluster does not serve all slots: see CLUSTER INFO',
  MOVED: 'it is a node of a cluster: give option "redis" a Cluster client',
  CROSSSLOT: 'it is a node of a cluster: give option "redis" a Cluster client'
}

/** An older Redis puts the word behind what it says of the script. */
const WORD = new RegExp(`(?:^|-)(${Object.keys(ADVICE).join('|')}) `)
/** Redis 7 says NOPERM of a script without the word. */
const IN_SCRIPT = /user executing the script can't/

/** Redis quotes the name in two ways, and does not tell the name of a command that a script calls. */
const UNKNOWN = /\bunknown (?:command ['`]([a-z]+)|redis command called from)/i

/** What to do where an administrator renamed or removed a command. */
function renamed (name: string | undefined): string {
  if (name?.toLowerCase() === 'info') {
    return 'it knows no command INFO, which the client asks for first: ' +
      'set enableReadyCheck: false in option "redis"'
  }
  const command = name?.toUpperCase() ?? 'that a script calls'
  return `it knows no command ${command}, which may be renamed: give it back its name; ` +
    'docs/operations.md lists what the plugin sends'
}

const NO_DATABASE = /^ERR (?:DB index is out of range|SELECT is not allowed)/

/**
 * Advice on an error; '' where there is none. It repeats only the first word of what Redis said, because the
 * rest may hold names of a token.
 */
export function adviceOn (error: unknown): string {
  for (const { message } of chainOf(error)) {
    const word = WORD.exec(message)?.[1] ?? (IN_SCRIPT.test(message) ? 'NOPERM' : '')
    if (word !== '') return `Redis says ${word}: ${ADVICE[word]!}`
    if (NO_DATABASE.test(message)) {
      return 'Redis says ERR: it has no such database: ask for one below "databases" of redis.conf'
    }
    const unknown = UNKNOWN.exec(message)
    if (unknown !== null) return `Redis says ERR: ${renamed(unknown[1])}`
  }
  return ''
}

/**
 * Whether Redis itself sent this error. Each error of Redis begins with a code in capitals, and no error of a
 * client does. The name of the client's class tells nothing, because a minified bundle changes it.
 */
export function isOfRedis (error: unknown): error is Error {
  return error instanceof Error && /^[A-Z]+ /.test(error.message)
}

/** Redis repeats the arguments of a command that it does not know: names of tokens, or a password. */
export function withoutArguments (text: string): string {
  return text.replace(/,? with args beginning with:.*/g, '')
}

/** An error and its causes: a client wraps what a script, or the last node of a cluster, has answered. */
export function chainOf (error: unknown): Error[] {
  if (!(error instanceof Error)) return []
  const { cause, lastNodeError } = error as Error & { lastNodeError?: unknown }
  return [error, ...[cause, lastNodeError].flatMap(chainOf)]
}
