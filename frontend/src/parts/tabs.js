// The tabs of a page may be wider than it: show the one that one is at, and fade where there are more.
const tabs = document.querySelector('.tabs')

function fade() {
  const rest = tabs.scrollWidth - tabs.clientWidth - tabs.scrollLeft
  tabs.classList.toggle('has-before', tabs.scrollLeft > 4)
  tabs.classList.toggle('has-after', rest > 4)
}

if (tabs) {
  const here = tabs.querySelector('[aria-current]')
  if (here) tabs.scrollLeft = here.offsetLeft - (tabs.clientWidth - here.offsetWidth) / 2
  tabs.addEventListener('scroll', fade, { passive: true })
  new ResizeObserver(fade).observe(tabs)
}
