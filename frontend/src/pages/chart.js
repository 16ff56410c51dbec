// The pages with charts ask for this file; uPlot is too large for the others.
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

window.uPlot = uPlot
