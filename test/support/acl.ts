/*
 * What Redis lets the plugin's user do, for `keyPrefix: 'jwt:'`. docs/operations.md quotes these lines, and a test
 * compares the two.
 */

/** Strict mode on one node. */
export const STRICT = 'ACL SETUSER revocation on >password resetkeys ~jwt:* resetchannels -@all ' +
  '+get +mget +set +eval +exists +time +pttl +pexpire +zadd +zremrangebyscore +zrevrange +zrevrank +xadd +xlen +xinfo|stream +info +client|setname'

/** In addition, each for what it is called. */
export const REPLICA = '+xread +xrange +scan'
export const MIN_REPLICAS = '+wait'
export const UNBOUNDED = '+persist'
export const CLUSTER = '+cluster|slots +cluster|info +asking'
export const CLUSTER_REPLICA = '+cluster|nodes'

/** Of another service, which only checks. */
export const CHECKER = 'ACL SETUSER checker on >password resetkeys %R~jwt:revoked:* %R~jwt:cutoff:* resetchannels -@all +get +mget'

export const USER = { username: 'revocation', password: 'password' }

/** The words of such a line, for a call of it. */
export const wordsOf = (line: string, ...more: string[]) =>
  [line, ...more].join(' ').split(' ') as [command: string, ...args: string[]]
