// Starts the app. The theme is set before the first paint of the app, so that it does not flash.
import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import { theme } from './lib/theme.svelte';

theme.restore();
const target = document.getElementById('app');
if (target) mount(App, { target });
