import { BarChart } from 'echarts/charts'
import { GridComponent, TitleComponent } from 'echarts/components'
import { init, use } from 'echarts/core'
import { SVGRenderer } from 'echarts/renderers'
import { ALONE } from '../contenders/contender.ts'
import { costsOf, ratioOf } from '../measures/comparison.ts'
import type { Sockets } from '../measures/sockets.ts'
import { median } from '../support/stats.ts'
import { figure, times } from './format.ts'

use([BarChart, GridComponent, TitleComponent, SVGRenderer])

/** Of the same contrast on white and on black. */
const TEXT = '#7a7a7a'
const OURS = '#2a9d8f'
const OTHERS = '#8a8fa8'

/** CPU per request by contender, on a transparent ground. */
export function chart ({ samples, rates }: Sockets): string {
  const names = [...new Set(samples.map(({ row }) => row))]
  const costOf = (name: string) => median(costsOf(samples, name).values())
  const labelOf = (name: string) => `${figure(costOf(name))}; ${times(ratioOf(samples, name)!.median)}`
  const font = { color: TEXT, fontSize: 13, fontFamily: 'system-ui, sans-serif' }
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 900, height: 70 + 30 * names.length })
  chart.setOption({
    animation: false,
    textStyle: font,
    title: {
      text: `Microseconds of server CPU per request at ${figure(median(rates))} requests/s, HS256; the ratio to ${ALONE.name}`,
      textStyle: { ...font, fontSize: 14 }
    },
    grid: { left: 350, right: 110, top: 40, bottom: 10 },
    xAxis: { type: 'value', show: false },
    yAxis: { type: 'category', inverse: true, data: names, axisLabel: { ...font, width: 340 }, axisLine: { show: false }, axisTick: { show: false } },
    series: [{
      type: 'bar',
      data: names.map((name) => ({
        value: costOf(name),
        itemStyle: { color: /^(strict|replica)/.test(name) ? OURS : OTHERS },
        label: { formatter: labelOf(name) }
      })),
      label: { ...font, show: true, position: 'right' }
    }]
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}
