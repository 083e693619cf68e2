/*
 * The plugin as it is published. What tsx makes of lib/ is not that: it names each inner function when it is created,
 * which costs something on every request.
 */
const dist = (file: string) => new URL(`../../dist/${file}`, import.meta.url).href

export async function builtPlugin () {
  const { revocationPlugin } = await import(dist('index.js')) as typeof import('../../lib/index.ts')
  return revocationPlugin
}

export async function builtDenylist () {
  const { Denylist } = await import(dist('stores/replica/denylist.js')) as typeof import('../../lib/stores/replica/denylist.ts')
  return Denylist
}
