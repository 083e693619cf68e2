/** Whether what repeats a rule for one more client or server is run as well: where PROPERTY_RUNS=all, as tap sets it. */
export const isThorough = process.env.PROPERTY_RUNS === 'all'

/**
 * How often a property is tried: a quarter of what it deserves in `npm test`, which somebody waits for, and all of it
 * where PROPERTY_RUNS=all, as tap sets it in the run for the coverage.
 */
export const runs = (all: number) => isThorough ? all : Math.ceil(all / 4)
