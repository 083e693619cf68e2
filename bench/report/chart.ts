import { BarChart } from 'echarts/charts'
import { GridComponent, TitleComponent } from 'echarts/components'
import { init, use } from 'echarts/core'
import { SVGRenderer } from 'echarts/renderers'
import { ALONE } from '../contenders/contender.ts'
import { ratioOf } from '../measures/comparison.ts'
import type { Compared } from '../measures/in-process.ts'
import { times } from './format.ts'

use([BarChart, GridComponent, TitleComponent, SVGRenderer])

/** Of the same contrast on white and on black. */
const TEXT = '#7a7a7a'
const OURS = '#2a9d8f'
const OTHERS = '#8a8fa8'

/** CPU per request by contender, on a transparent ground. */
export function chart ({ samples }: Compared): string {
  const names = [...new Set(samples.map(({ row }) => row))]
  const ratio = (name: string) => ratioOf(samples, name)!.median
  const font = { color: TEXT, fontSize: 13, fontFamily: 'system-ui, sans-serif' }
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 900, height: 70 + 30 * names.length })
  chart.setOption({
    animation: false,
    textStyle: font,
    title: {
      text: `CPU per request within the process, HS256, ÷ ${ALONE.name}`,
      textStyle: { ...font, fontSize: 14 }
    },
    grid: { left: 350, right: 110, top: 40, bottom: 10 },
    xAxis: { type: 'value', show: false },
    yAxis: { type: 'category', inverse: true, data: names, axisLabel: { ...font, width: 340 }, axisLine: { show: false }, axisTick: { show: false } },
    series: [{
      type: 'bar',
      data: names.map((name) => ({
        value: ratio(name),
        itemStyle: { color: /^(strict|replica)/.test(name) ? OURS : OTHERS },
        label: { formatter: times(ratio(name)) }
      })),
      label: { ...font, show: true, position: 'right' }
    }]
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}
