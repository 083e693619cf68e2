/** Finds in INFO why this Redis can lose revocations. Each sentence says what to change. */
export function inspect (info: string, minReplicas: number): string[] {
  const fields = new Map([...info.matchAll(/^([a-z_]+):(.*?)\r?$/gm)].map(([, name, value]) => [name, value]))
  const field = (name: string) => fields.get(name)
  const warnings: string[] = []
  const warn = (applies: boolean, sentence: string) => { if (applies) warnings.push(sentence) }

  const policy = field('maxmemory_policy')
  warn(policy !== undefined && policy !== 'noeviction',
    `Redis may evict revocations when its memory is full (maxmemory-policy ${policy}), ` +
    'and their tokens work again; set maxmemory-policy noeviction')
  warn(field('aof_enabled') === '0',
    'Redis keeps no append-only file: what was revoked since its last snapshot, if it makes any, ' +
    'is lost when it ends; set appendonly yes')
  warn(field('role') === 'slave',
    'Redis is a replica: it takes no revocations, and may not know of the latest; connect to its master')
  // Valkey gives here the version of Redis that it is compatible with.
  const version = field('redis_version')
  const [major = 0, minor = 0] = version?.split('.').map(Number) ?? [Infinity]
  warn(major < 6 || (major === 6 && minor < 2),
    `Redis ${version} lacks commands that the plugin needs; run 6.2 or newer, or Valkey`)
  const replicas = field('connected_slaves')
  warn(replicas !== undefined && Number(replicas) < minReplicas,
    `Redis has ${replicas} replicas, fewer than option "minReplicas" asks for (${minReplicas}): ` +
    'revocations are answered 503')
  return warnings
}
