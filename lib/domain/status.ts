import type { StoreStatus } from '../stores/store.ts'
import type { Milliseconds, Seconds } from '../time.ts'
import type { RevocationStatus } from '../types.ts'
import type { Rules } from './claims.ts'

export interface StatusSettings {
  mode: RevocationStatus['mode']
  /** Default: nothing can be refreshed. */
  refresh?: { expiresIn: Seconds, grace: Milliseconds } | undefined
}

/** What a health route is told. Processes that share a key prefix can be compared by it. */
export function statusOf (
  store: StoreStatus, rules: Rules, { mode, refresh }: StatusSettings
): RevocationStatus {
  const { kind, available, warnings, copy: { entries, stalenessMs } = {} } = store
  const { claims: { jti, sub, sid }, sidless } = rules
  return {
    mode,
    store: kind,
    available,
    claims: { jti, sub, ...(sid !== undefined && { sid }) },
    revocableBy: [...rules.revocableBy],
    ...(sidless && { backchannelLogout: true }),
    ...(refresh && { refresh: { expiresIn: refresh.expiresIn, grace: refresh.grace / 1000 } }),
    ...(entries !== undefined && { entries }),
    ...(stalenessMs !== undefined && { stalenessMs }),
    ...(warnings.length > 0 && { warnings: [...warnings] })
  }
}
